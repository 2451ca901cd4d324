package main

import (
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Sizes in pixels, at twice the size of a plain screen.
const (
	width  = 1480
	margin = 36
	line   = 42
	gap    = 18
)

var (
	white = color.RGBA{255, 255, 255, 255}
	black = color.RGBA{29, 28, 29, 255}
	grey  = color.RGBA{97, 96, 97, 255}
	pink  = color.RGBA{192, 19, 67, 255}
	shade = color.RGBA{246, 246, 246, 255}
	red   = color.RGBA{221, 46, 68, 255}
)

// page is what is drawn on, from top to bottom.
type page struct {
	img  *image.RGBA
	y    int
	face map[string]font.Face
}

func draw(messages []message) (image.Image, error) {
	p := &page{img: image.NewRGBA(image.Rect(0, 0, width, 4000)), y: margin, face: map[string]font.Face{}}
	for name, f := range map[string]struct {
		ttf  []byte
		size float64
	}{
		"plain": {goregular.TTF, 28}, "bold": {gobold.TTF, 28}, "code": {gomono.TTF, 25}, "header": {gobold.TTF, 34}, "small": {goregular.TTF, 22}, "smallcode": {gomono.TTF, 20},
	} {
		parsed, err := opentype.Parse(f.ttf)
		if err != nil {
			return nil, err
		}
		if p.face[name], err = opentype.NewFace(parsed, &opentype.FaceOptions{Size: f.size, DPI: 72, Hinting: font.HintingFull}); err != nil {
			return nil, err
		}
	}
	stddraw.Draw(p.img, p.img.Bounds(), image.NewUniform(white), image.Point{}, stddraw.Src)
	for _, m := range messages {
		if err := p.message(&m); err != nil {
			return nil, err
		}
	}
	return paletted(p.img.SubImage(image.Rect(0, 0, width, min(p.y, p.img.Bounds().Dy())))), nil
}

// paletted keeps the colours that are used most: a small file.
func paletted(img image.Image) image.Image {
	palette := color.Palette{white, black, grey, pink, shade, red}
	for _, c := range []color.RGBA{black, grey, pink} {
		for _, under := range []color.RGBA{white, shade} {
			for i := 1; i < 8; i++ {
				mix := func(a, b uint8) uint8 { return uint8((int(a)*i + int(b)*(8-i)) / 8) }
				palette = append(palette, color.RGBA{mix(c.R, under.R), mix(c.G, under.G), mix(c.B, under.B), 255})
			}
		}
	}
	for _, bar := range []string{"#e20b0b", "#ff5400", "#ffc700", "#5bffb5", "#68c2ff"} {
		palette = append(palette, parseColor(bar))
	}
	out := image.NewPaletted(img.Bounds(), palette)
	stddraw.Draw(out, out.Bounds(), img, img.Bounds().Min, stddraw.Src)
	return out
}

func parseColor(s string) color.RGBA {
	c := color.RGBA{A: 255}
	_, _ = fmt.Sscanf(s, "#%02x%02x%02x", &c.R, &c.G, &c.B)
	return c
}

func (p *page) message(m *message) error {
	p.text(margin, margin, width-margin, "bold", m.Username, black)
	p.y += line + 4
	for _, b := range m.Blocks {
		if err := p.block(&b, margin); err != nil {
			return err
		}
	}
	for _, a := range m.Attachments {
		from := p.y
		for _, b := range a.Blocks {
			if err := p.block(&b, margin+32); err != nil {
				return err
			}
		}
		p.fill(margin, from, margin+8, p.y-gap/2, parseColor(a.Color))
	}
	p.y += gap * 2
	return nil
}

func (p *page) block(b *block, left int) error {
	switch {
	case b.Type == "header" && b.Text != nil:
		p.header(left, b.Text.Text)
	case b.Type == "section" && b.Text != nil:
		p.paragraph(left, width-margin, b.Text, "plain", "code", black, line)
	case b.Type == "section":
		p.fields(left, b.Fields)
	case b.Type == "context":
		var all []string
		for _, e := range b.Elements {
			all = append(all, e.Text)
		}
		p.paragraph(left, width-margin, &text{"mrkdwn", strings.Join(all, "   ")}, "small", "smallcode", grey, 34)
	default:
		return fmt.Errorf("a block of type %q: nothing here draws it", b.Type)
	}
	p.y += gap
	return nil
}

// header draws the sign for "blocked" itself: no font here has it.
func (p *page) header(left int, s string) {
	x := left
	if rest, ok := strings.CutPrefix(s, "⛔ "); ok {
		for dy := -16; dy <= 16; dy++ {
			for dx := -16; dx <= 16; dx++ {
				if dx*dx+dy*dy <= 16*16 {
					c := red
					if dy >= -4 && dy <= 4 && dx >= -11 && dx <= 11 {
						c = white
					}
					p.img.Set(left+16+dx, p.y+20+dy, c)
				}
			}
		}
		s, x = rest, left+44
	}
	p.text(x, x, width-margin, "header", s, black)
	p.y += 48
}

// fields are two columns.
func (p *page) fields(left int, fields []text) {
	half := (width - margin - left) / 2
	for i := 0; i < len(fields); i += 2 {
		top, bottom := p.y, p.y
		for n, f := range fields[i:min(i+2, len(fields))] {
			p.y = top
			p.paragraph(left+n*half, left+n*half+half-gap, &f, "plain", "code", black, line)
			bottom = max(bottom, p.y)
		}
		p.y = bottom + 6
	}
}

// paragraph draws plain text, or mrkdwn with *bold* and `code`, which does not nest here.
func (p *page) paragraph(left, right int, t *text, plain, code string, c color.RGBA, height int) {
	for row := range strings.SplitSeq(t.Text, "\n") {
		x := left
		for i, part := range strings.Split(row, "`") {
			switch {
			case t.Type != "mrkdwn":
				x = p.text(x, left, right, plain, part, c)
			case i%2 == 1:
				x = p.text(x, left, right, code, part, pink)
			default:
				for j, run := range strings.Split(part, "*") {
					face := plain
					if j%2 == 1 {
						face = "bold"
					}
					x = p.text(x, left, right, face, run, c)
				}
			}
		}
		p.y += height
	}
}

var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// text draws words, in as many lines as they need, and says where it ended.
func (p *page) text(x, left, right int, face, s string, c color.RGBA) int {
	f := p.face[face]
	s = entities.Replace(s)
	for i, word := range strings.SplitAfter(s, " ") {
		w := font.MeasureString(f, strings.TrimRight(word, " ")).Ceil()
		if x+w > right && (i > 0 || x > left) {
			x = left
			p.y += 36
		}
		if strings.HasSuffix(face, "code") && word != "" {
			p.fill(x-3, p.y+4, x+font.MeasureString(f, word).Ceil()+3, p.y+36, shade)
		}
		d := font.Drawer{Dst: p.img, Src: image.NewUniform(c), Face: f, Dot: fixed.P(x, p.y+29)}
		d.DrawString(word)
		x += font.MeasureString(f, word).Ceil()
	}
	return x
}

func (p *page) fill(x0, y0, x1, y1 int, c color.RGBA) {
	stddraw.Draw(p.img, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, stddraw.Src)
}
