package main

import (
	"encoding/base64"
	"errors"
	"strconv"
)

const (
	edgeDefault    = 256
	edgeMax        = 2048
	qualityDefault = 85
	qualityMax     = 100
)

// request is what the caller asked for: the bytes of a picture, and options when it came inside a JSON object.
type request struct {
	image   []byte
	edge    int
	format  string // "" keeps the format of the input
	quality int
}

// parse tells a bare picture from a JSON object: no picture begins with a brace.
func parse(input []byte) (request, error) {
	asked := request{image: input, edge: edgeDefault, quality: qualityDefault}
	reader := objectReader{document: input}
	first := reader.next()
	if reader.at == len(input) {
		return asked, errors.New("the input is empty; send a PNG or JPEG picture")
	}
	switch first {
	case '"':
		return asked, errors.New(`the input is a JSON string; send the picture as input_base64, or {"image_base64": "..."}`)
	case '{':
		asked.image = nil
		if err := asked.read(&reader); err != nil {
			return asked, err
		}
		return asked, asked.check()
	}
	return asked, nil
}

func (asked *request) read(reader *objectReader) error {
	reader.at++
	for first := true; ; first = false {
		if first && reader.take('}') {
			break
		}
		name, err := reader.text()
		if err != nil {
			return err
		}
		if !reader.take(':') {
			return reader.expected(":")
		}
		if err := asked.set(name, reader); err != nil {
			return err
		}
		if reader.take('}') {
			break
		}
		if !reader.take(',') {
			return reader.expected(", or }")
		}
	}
	if reader.next(); reader.at < len(reader.document) {
		return reader.expected("nothing more")
	}
	return nil
}

func (asked *request) set(name string, reader *objectReader) error {
	var err error
	switch name {
	case "image_base64":
		var encoded string
		if encoded, err = reader.text(); err != nil {
			return err
		}
		if asked.image, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return errors.New("image_base64 is not base64: " + err.Error())
		}
	case "format":
		asked.format, err = reader.text()
	case "max_edge_pixels":
		asked.edge, err = reader.number()
	case "quality":
		asked.quality, err = reader.number()
	default:
		return errors.New("the input object has a field this spell does not know: " + strconv.Quote(name))
	}
	return err
}

func (asked *request) check() error {
	switch {
	case len(asked.image) == 0:
		return errors.New("image_base64 is missing or empty")
	case asked.edge < 1 || asked.edge > edgeMax:
		return errors.New("max_edge_pixels must be from 1 to " + strconv.Itoa(edgeMax))
	case asked.format != "" && asked.format != "png" && asked.format != "jpeg":
		return errors.New("format must be png or jpeg")
	case asked.quality < 1 || asked.quality > qualityMax:
		return errors.New("quality must be from 1 to " + strconv.Itoa(qualityMax))
	}
	return nil
}

// objectReader reads one flat JSON object. The standard library's reader would double the size of the module.
type objectReader struct {
	document []byte
	at       int
}

// next skips space and returns the byte that follows, 0 at the end.
func (reader *objectReader) next() byte {
	for ; reader.at < len(reader.document); reader.at++ {
		switch found := reader.document[reader.at]; found {
		case ' ', '\t', '\r', '\n':
		default:
			return found
		}
	}
	return 0
}

func (reader *objectReader) take(wanted byte) bool {
	if reader.next() != wanted {
		return false
	}
	reader.at++
	return true
}

func (reader *objectReader) expected(what string) error {
	return errors.New("the input object is not JSON: expected " + what + " at offset " + strconv.Itoa(reader.at))
}

func (reader *objectReader) number() (int, error) {
	reader.next()
	from := reader.at
	for reader.at < len(reader.document) && reader.document[reader.at]-'0' < 10 {
		reader.at++
	}
	value, err := strconv.Atoi(string(reader.document[from:reader.at]))
	if err != nil {
		return 0, reader.expected("a whole number")
	}
	return value, nil
}

func (reader *objectReader) text() (string, error) {
	if !reader.take('"') {
		return "", reader.expected("a string")
	}
	decoded := make([]byte, 0, 64)
	for reader.at < len(reader.document) {
		found := reader.document[reader.at]
		reader.at++
		switch {
		case found == '"':
			return string(decoded), nil
		case found < ' ':
			return "", reader.expected("no control character")
		case found == '\\':
			escaped, err := reader.escape()
			if err != nil {
				return "", err
			}
			found = escaped
		}
		decoded = append(decoded, found)
	}
	return "", reader.expected("a closing quote")
}

// escape reads what follows a backslash. Names, formats and base64 are ASCII, so nothing beyond it is needed.
func (reader *objectReader) escape() (byte, error) {
	if reader.at == len(reader.document) {
		return 0, reader.expected("an escape")
	}
	kind := reader.document[reader.at]
	reader.at++
	switch kind {
	case '"', '\\', '/':
		return kind, nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		// Some writers of JSON escape the + of base64 this way.
		if reader.at+4 <= len(reader.document) {
			value, err := strconv.ParseUint(string(reader.document[reader.at:reader.at+4]), 16, 16)
			if err == nil && value < 0x80 {
				reader.at += 4
				return byte(value), nil
			}
		}
	}
	return 0, reader.expected("an escape of an ASCII character")
}
