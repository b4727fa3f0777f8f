package main

import (
	"image"
	"image/color"
	"image/draw"
	"math"
)

// Steps of the way back from linear light to 8 bits: with 4,096 no two neighbouring dark values fall together.
const linearSteps = 4096

var (
	linearOf [256]float32
	srgbOf   [linearSteps + 1]uint8
)

func init() {
	for value := range linearOf {
		share := float64(value) / 255
		if share <= 0.04045 {
			linearOf[value] = float32(share / 12.92)
		} else {
			linearOf[value] = float32(math.Pow((share+0.055)/1.055, 2.4))
		}
	}
	for step := range srgbOf {
		share := float64(step) / linearSteps
		if share <= 0.0031308 {
			share *= 12.92
		} else {
			share = 1.055*math.Pow(share, 1/2.4) - 0.055
		}
		srgbOf[step] = uint8(share*255 + 0.5)
	}
}

// fitted returns the size whose longer edge is at most edge, in the same proportion. It never enlarges.
func fitted(width, height, edge int) (int, int) {
	longer := max(width, height)
	if longer <= edge {
		return width, height
	}
	scaled := func(length int) int { return max(1, (length*edge+longer/2)/longer) }
	return scaled(width), scaled(height)
}

// span is the share of the source pixels from first on that one target pixel covers.
type span struct {
	first   int
	weights []float32
}

// spans divides source pixels among target pixels by area; the weights of each target pixel sum to 1.
func spans(source, target int) []span {
	divided := make([]span, target)
	ratio := float64(source) / float64(target)
	for index := range divided {
		from, to := float64(index)*ratio, float64(index+1)*ratio
		first, last := int(from), min(source-1, int(math.Ceil(to))-1)
		weights := make([]float32, 0, last-first+1)
		for pixel := first; pixel <= last; pixel++ {
			covered := math.Min(to, float64(pixel+1)) - math.Max(from, float64(pixel))
			weights = append(weights, float32(covered/ratio))
		}
		divided[index] = span{first: first, weights: weights}
	}
	return divided
}

// shrink averages over the area of each target pixel, in linear light and weighted by opacity, so that fine patterns
// keep their brightness and transparent pixels lend no colour.
func shrink(source image.Image, edge int) *image.NRGBA {
	bounds := source.Bounds()
	width, height := fitted(bounds.Dx(), bounds.Dy(), edge)
	target := image.NewNRGBA(image.Rect(0, 0, width, height))
	if width == bounds.Dx() && height == bounds.Dy() {
		draw.Draw(target, target.Bounds(), source, bounds.Min, draw.Src)
		return target
	}
	columns := spans(bounds.Dx(), width)
	row := image.NewRGBA(image.Rect(0, 0, bounds.Dx(), 1))
	sums := make([]float32, 4*width)
	for y, rows := range spans(bounds.Dy(), height) {
		clear(sums)
		for offset, weight := range rows.weights {
			// One row at a time: a converted copy of the whole picture would double the memory.
			draw.Draw(row, row.Bounds(), source, image.Pt(bounds.Min.X, bounds.Min.Y+rows.first+offset), draw.Src)
			addRow(sums, row.Pix, columns, weight)
		}
		fromLinear(target.Pix[y*target.Stride:], sums)
	}
	return target
}

// addRow adds one source row to the sums of one target row: red, green and blue in linear light times opacity, and
// opacity. Linear light is looked up here and not stored between, which saves a third of the fuel of shrinking.
func addRow(sums []float32, pixels []uint8, columns []span, rowWeight float32) {
	for x := range columns {
		var red, green, blue, alpha float32
		at := 4 * columns[x].first
		for _, weight := range columns[x].weights {
			pixel := pixels[at : at+4 : at+4]
			at += 4
			if pixel[3] == 255 {
				red += weight * linearOf[pixel[0]]
				green += weight * linearOf[pixel[1]]
				blue += weight * linearOf[pixel[2]]
				alpha += weight
			} else if opacity := pixel[3]; opacity > 0 {
				share := weight * float32(opacity) / 255
				red += share * linearOf[straight(pixel[0], opacity)]
				green += share * linearOf[straight(pixel[1], opacity)]
				blue += share * linearOf[straight(pixel[2], opacity)]
				alpha += share
			}
		}
		sum := sums[4*x : 4*x+4 : 4*x+4]
		sum[0] += rowWeight * red
		sum[1] += rowWeight * green
		sum[2] += rowWeight * blue
		sum[3] += rowWeight * alpha
	}
}

// straight undoes the multiplication by opacity that draw.Draw leaves in image.RGBA.
func straight(value, opacity uint8) uint8 {
	return uint8(min(255, (uint32(value)*255+uint32(opacity)/2)/uint32(opacity)))
}

func fromLinear(pixels []uint8, sums []float32) {
	for at := 0; at < len(sums); at += 4 {
		alpha := min(1, sums[at+3])
		opacity := uint8(alpha*255 + 0.5)
		pixels[at+3] = opacity
		if opacity == 0 {
			continue
		}
		for channel := range 3 {
			share := min(1, sums[at+channel]/alpha)
			pixels[at+channel] = srgbOf[int(share*linearSteps+0.5)]
		}
	}
}

// turned returns the picture as the camera saw it; turn counts as Exif does.
func turned(picture *image.NRGBA, turn int) *image.NRGBA {
	if turn == orientationAsIs {
		return picture
	}
	width, height := picture.Rect.Dx(), picture.Rect.Dy()
	swapped := turn >= 5
	result := image.NewNRGBA(image.Rect(0, 0, width, height))
	if swapped {
		result = image.NewNRGBA(image.Rect(0, 0, height, width))
	}
	for y := range result.Rect.Dy() {
		for x := range result.Rect.Dx() {
			fromX, fromY := x, y
			if swapped {
				fromX, fromY = y, x
			}
			if turn == 2 || turn == 3 || turn == 7 || turn == 8 {
				fromX = width - 1 - fromX
			}
			if turn == 3 || turn == 4 || turn == 6 || turn == 7 {
				fromY = height - 1 - fromY
			}
			result.SetNRGBA(x, y, picture.NRGBAAt(fromX, fromY))
		}
	}
	return result
}

// onWhite returns the picture without transparency, which JPEG does not have.
func onWhite(picture *image.NRGBA) image.Image {
	if picture.Opaque() {
		return picture
	}
	opaque := image.NewRGBA(picture.Bounds())
	draw.Draw(opaque, opaque.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(opaque, opaque.Bounds(), picture, picture.Bounds().Min, draw.Over)
	return opaque
}
