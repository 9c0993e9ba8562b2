// plot draws a CSV as lines in an SVG, both axes logarithmic.
//
//	plot FILE.csv TITLE UNIT > FILE.svg
//
// The first row names the columns, the first column is x, UNIT that of the others. Columns "direct", and "direct …" beside
// "pgscope …", are one thing measured twice: they share a colour, the direct one is dashed. Dotted diagonals are what
// grows in proportion.
package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	width, height            = 774, 420
	left, right, top, bottom = 76, 204, 44, 52
	base                     = "direct"
)

// style has the colours in light and in dark; those of the lines are told apart by the colour-blind, too (Okabe and Ito).
const style = `<style>
svg { font: 12px sans-serif; background: #fff }
text { fill: #24292f } .title { font-size: 14px; font-weight: 600 }
.grid { stroke: #d8dee4 } .fine { stroke: #eff2f5 } .slope { stroke: #afb8c1; stroke-dasharray: 1 5 }
.line { fill: none; stroke-width: 2 } .base { stroke-dasharray: 6 4; stroke-width: 1.5 } .point { stroke: none }
.c0 { stroke: #0072b2; fill: #0072b2 } .c1 { stroke: #d55e00; fill: #d55e00 } .c2 { stroke: #009e73; fill: #009e73 }
.c3 { stroke: #cc79a7; fill: #cc79a7 } .c4 { stroke: #a07800; fill: #a07800 } .c5 { stroke: #6e7781; fill: #6e7781 }
.line { fill: none }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } text { fill: #e6edf3 }
.grid { stroke: #30363d } .fine { stroke: #1c2128 } .slope { stroke: #57606a }
.c0 { stroke: #56b4e9; fill: #56b4e9 } .c4 { stroke: #f0e442; fill: #f0e442 } .c5 { stroke: #9aa4ae; fill: #9aa4ae }
.line { fill: none }
}
</style>`

const colours = 6

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: plot FILE.csv TITLE UNIT")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	if err := draw(os.Stdout, os.Args[2], os.Args[3], rows); err != nil {
		log.Fatal(err)
	}
}

// draw writes the picture of the rows, the first of which has the names. A cell that is empty has no point.
func draw(w io.Writer, title, unit string, rows [][]string) error {
	if len(rows) < 2 {
		return errors.New("no rows")
	}
	c := chart{names: rows[0][1:], x: newAxis(), y: newAxis()}
	if err := c.read(rows[1:]); err != nil {
		return err
	}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">`, width, height, width, height)
	c.add(`%s`, style)
	c.add(`<clipPath id="plot"><rect x="%d" y="%d" width="%d" height="%d"/></clipPath>`, left, top, width-left-right, height-top-bottom)
	c.add(`<text class="title" x="%d" y="24">%s</text>`, left, html.EscapeString(title))
	c.grid(rows[0][0], unit)
	c.lines()
	c.add(`</svg>`)
	_, err := io.WriteString(w, c.svg.String())
	return err
}

// chart is a picture while it is drawn.
type chart struct {
	svg   strings.Builder
	names []string    // of the lines
	table [][]float64 // x, and a point of each line; 0 where there is none
	x, y  axis
}

// add appends a line to the picture.
func (c *chart) add(format string, args ...any) { fmt.Fprintf(&c.svg, format+"\n", args...) }

// px and py are where a value stands in the picture.
func (c *chart) px(v float64) float64 { return left + c.x.at(v)*(width-left-right) }
func (c *chart) py(v float64) float64 { return height - bottom - c.y.at(v)*(height-top-bottom) }

// read fills the table, and makes the axes as long as it needs them.
func (c *chart) read(rows [][]string) error {
	c.table = make([][]float64, len(rows))
	for i, row := range rows {
		for j, cell := range row {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil && cell != "" {
				return err
			}
			c.table[i] = append(c.table[i], v)
			switch {
			case v <= 0:
			case j == 0:
				c.x.take(v)
			default:
				c.y.take(v)
			}
		}
	}
	return nil
}

// grid draws what the lines are read by.
func (c *chart) grid(xTitle, yTitle string) {
	for _, t := range c.x.ticks() {
		c.add(`<path class="%s" d="M%.1f %d V%d"/>`, t.class(), c.px(t.at), top, height-bottom)
		if t.label != "" {
			c.add(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, c.px(t.at), height-bottom+18, t.label)
		}
	}
	for _, t := range c.y.ticks() {
		c.add(`<path class="%s" d="M%d %.1f H%d"/>`, t.class(), left, c.py(t.at), width-right)
		if t.label != "" {
			c.add(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-8, c.py(t.at)+4, t.label)
		}
	}
	c.add(`<g clip-path="url(#plot)">`)
	for e, decades := c.y.low-(c.x.high-c.x.low), c.x.high-c.x.low; e < c.y.high; e++ {
		c.add(`<path class="slope" d="M%.1f %.1f L%.1f %.1f"/>`,
			c.px(math.Pow(10, c.x.low)), c.py(math.Pow(10, e)), c.px(math.Pow(10, c.x.high)), c.py(math.Pow(10, e+decades)))
	}
	c.add(`</g>`)
	c.add(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+width-right)/2, height-10, html.EscapeString(xTitle))
	c.add(`<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`, (top+height-bottom)/2, html.EscapeString(yTitle))
}

// lines draws a line for each name, with its legend.
func (c *chart) lines() {
	colour := make(map[string]int)
	for j, name := range c.names {
		what := strings.TrimSpace(name[strings.IndexByte(name+" ", ' '):])
		if !slices.Contains(c.names, strings.TrimSpace(base+" "+what)) { // it stands alone
			what = name
		}
		if _, ok := colour[what]; !ok {
			colour[what] = len(colour) % colours
		}
		class := fmt.Sprintf("c%d line", colour[what])
		if name == base || strings.HasPrefix(name, base+" ") {
			class += " base"
		}
		var points strings.Builder
		for _, row := range c.table {
			if row[j+1] > 0 {
				fmt.Fprintf(&points, "%.1f,%.1f ", c.px(row[0]), c.py(row[j+1]))
				c.add(`<circle class="c%d point" cx="%.1f" cy="%.1f" r="2.5"/>`, colour[what], c.px(row[0]), c.py(row[j+1]))
			}
		}
		c.add(`<polyline class="%s" points="%s"/>`, class, strings.TrimSpace(points.String()))
		at := top + 8 + 20*j
		c.add(`<path class="%s" d="M%d %d h28"/><text x="%d" y="%d">%s</text>`, class, width-right+14, at, width-right+48, at+4, html.EscapeString(name))
	}
	at := top + 8 + 20*len(c.names)
	c.add(`<path class="slope" d="M%d %d h28"/><text x="%d" y="%d">in proportion</text>`, width-right+14, at, width-right+48, at+4)
}

// axis is a logarithmic axis: the exponents of where it begins and ends, which are 1, 2 or 5 times a power of ten.
type axis struct{ low, high float64 }

func newAxis() axis { return axis{math.Inf(1), math.Inf(-1)} }

func (a *axis) take(v float64) {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	below, above := decade, 10*decade
	for _, f := range []float64{1, 2, 5} {
		if f*decade <= v {
			below = f * decade
		}
	}
	for _, f := range []float64{5, 2, 1} {
		if f*decade >= v {
			above = f * decade
		}
	}
	a.low, a.high = min(a.low, math.Log10(below)), max(a.high, math.Log10(above))
}

// at returns where a value stands between 0 and 1.
func (a axis) at(v float64) float64 {
	if a.high == a.low {
		return 0.5
	}
	return (math.Log10(v) - a.low) / (a.high - a.low)
}

// tick is a line of the grid. Those without a label are fine.
type tick struct {
	at    float64
	label string
}

func (t tick) class() string {
	if t.label == "" {
		return "fine"
	}
	return "grid"
}

func (a axis) ticks() (list []tick) {
	const near = 1e-6
	for e := math.Floor(a.low); e <= a.high+near; e++ {
		for f := 1.0; f < 10; f++ {
			v := f * math.Pow(10, e)
			if at := math.Log10(v); at < a.low-near || at > a.high+near {
				continue
			}
			t := tick{at: v}
			if f == 1 || a.high-a.low < 2.5 && (f == 2 || f == 5) {
				t.label = short(v)
			}
			list = append(list, t)
		}
	}
	return list
}

// short writes 0.5, 200, 1 k, 2 M.
func short(v float64) string {
	switch {
	case v >= 0.9999e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 0.9999e3:
		return fmt.Sprintf("%.3g k", v/1e3)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
