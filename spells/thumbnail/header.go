package main

import (
	"encoding/binary"
	"image"
	"image/color"
)

// Where a PNG header says how the picture is interlaced: signature 8, length and name 8, then byte 12 of IHDR.
const pngInterlaceOffset = 28

const (
	markerStartOfScan     = 0xDA
	markerProgressive     = 0xC2
	markerApplication1    = 0xE1
	exifOrientationTag    = 0x0112
	orientationAsIs       = 1
	orientationMax        = 8
	exifEntryBytes        = 12
	progressiveCoeffBytes = 4
)

// bytesPerPixel returns the most memory the decoder takes for one pixel.
func bytesPerPixel(config image.Config, format string, data []byte) int64 {
	if format == "jpeg" {
		samples := int64(3)
		if config.ColorModel == color.CMYKModel {
			samples = 4
		}
		if config.ColorModel == color.GrayModel {
			samples = 1
		}
		if isProgressive(data) {
			// All coefficients are kept until the last scan.
			return samples * (1 + progressiveCoeffBytes)
		}
		return samples
	}
	size := int64(4)
	switch config.ColorModel {
	case color.GrayModel:
		size = 1
	case color.Gray16Model:
		size = 2
	case color.RGBA64Model, color.NRGBA64Model:
		size = 8
	default:
		if _, isPaletted := config.ColorModel.(color.Palette); isPaletted {
			size = 1
		}
	}
	if len(data) > pngInterlaceOffset && data[pngInterlaceOffset] != 0 {
		// Each pass is decoded on its own and then merged; the last holds half of the pixels.
		return size * 2
	}
	return size
}

// segments calls visit with each marker before the first scan until it returns false.
func segments(data []byte, visit func(marker byte, body []byte) bool) {
	for at := 2; at+4 <= len(data) && data[at] == 0xFF; {
		marker := data[at+1]
		if marker == 0xFF {
			at++
			continue
		}
		length := int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == markerStartOfScan || length < 2 || at+2+length > len(data) {
			return
		}
		if !visit(marker, data[at+4:at+2+length]) {
			return
		}
		at += 2 + length
	}
}

func isProgressive(data []byte) bool {
	progressive := false
	segments(data, func(marker byte, _ []byte) bool {
		progressive = progressive || marker == markerProgressive
		return !progressive
	})
	return progressive
}

// orientation returns how a camera was held, 1 to 8 as Exif counts, and 1 when the picture does not say.
func orientation(data []byte) int {
	found := orientationAsIs
	segments(data, func(marker byte, body []byte) bool {
		if marker != markerApplication1 || len(body) < 14 || string(body[:6]) != "Exif\x00\x00" {
			return true
		}
		found = exifOrientation(body[6:])
		return false
	})
	return found
}

func exifOrientation(tiff []byte) int {
	var order binary.ByteOrder = binary.BigEndian
	if string(tiff[:2]) == "II" {
		order = binary.LittleEndian
	}
	directory := uint64(order.Uint32(tiff[4:]))
	if directory+2 > uint64(len(tiff)) {
		return orientationAsIs
	}
	count := uint64(order.Uint16(tiff[directory:]))
	for entry := directory + 2; count > 0 && entry+exifEntryBytes <= uint64(len(tiff)); entry += exifEntryBytes {
		count--
		if order.Uint16(tiff[entry:]) != exifOrientationTag {
			continue
		}
		value := int(order.Uint16(tiff[entry+8:]))
		if value >= orientationAsIs && value <= orientationMax {
			return value
		}
		return orientationAsIs
	}
	return orientationAsIs
}
