// Makes a small picture of a large one: PNG or JPEG in, PNG or JPEG out. README.md describes the options.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"runtime/debug"
)

const (
	// What a decoded picture may take. The module is cast with 128 MiB; the rest holds the input, the result and Go.
	decodedBytesMax = 72 << 20
	// The collector works harder from here on, instead of asking for memory that the host refuses.
	memorySoftLimit = 104 << 20
)

func main() {
	debug.SetMemoryLimit(memorySoftLimit)
	output, err := run(os.Stdin)
	if err == nil {
		_, err = os.Stdout.Write(output)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(stdin io.Reader) ([]byte, error) {
	input, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("the input could not be read: %w", err)
	}
	asked, err := parse(input)
	if err != nil {
		return nil, err
	}
	source, format, err := decode(asked.image)
	if err != nil {
		return nil, err
	}
	turn := 1
	if format == "jpeg" {
		turn = orientation(asked.image)
	}
	small := turned(shrink(source, asked.edge), turn)
	if asked.format == "" {
		asked.format = format
	}
	return encode(small, asked)
}

// decode reads the picture after a look at its header, so that a small file cannot ask for gigabytes.
func decode(data []byte) (image.Image, string, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if errors.Is(err, image.ErrFormat) {
		return nil, "", errors.New("the input is neither a PNG nor a JPEG picture")
	}
	if err != nil {
		return nil, "", fmt.Errorf("the picture is damaged: %w", err)
	}
	if config.Width < 1 || config.Height < 1 {
		return nil, "", errors.New("the picture has no pixels")
	}
	needed := int64(config.Width) * int64(config.Height) * bytesPerPixel(config, format, data)
	if needed > decodedBytesMax {
		return nil, "", fmt.Errorf("the picture of %d x %d pixels is too large: decoded it takes %d MiB, at most %d MiB fit",
			config.Width, config.Height, needed>>20, decodedBytesMax>>20)
	}
	decoded, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, "", fmt.Errorf("the picture is damaged: %w", err)
	}
	return decoded, format, nil
}

func encode(small *image.NRGBA, asked request) ([]byte, error) {
	var output bytes.Buffer
	var err error
	if asked.format == "png" {
		err = (&png.Encoder{CompressionLevel: png.DefaultCompression}).Encode(&output, small)
	} else {
		err = jpeg.Encode(&output, onWhite(small), &jpeg.Options{Quality: asked.quality})
	}
	if err != nil {
		return nil, fmt.Errorf("the result could not be written: %w", err)
	}
	return output.Bytes(), nil
}
