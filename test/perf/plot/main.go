// plot draws a CSV as lines in an SVG, both axes logarithmic.
//
//	plot FILE.csv TITLE > FILE.svg
//
// The first row names the columns, the first column is x.
package main

import (
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"log"
	"math"
	"os"
	"strconv"
)

const (
	width, height            = 640, 400
	left, right, top, bottom = 70, 160, 40, 50
)

var colours = []string{"#888888", "#c0392b", "#2980b9", "#27ae60", "#8e44ad"}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: plot FILE.csv TITLE")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	if err := draw(os.Stdout, os.Args[2], rows); err != nil {
		log.Fatal(err)
	}
}

// draw writes the picture of the rows, the first of which has the names.
func draw(w io.Writer, title string, rows [][]string) error {
	if len(rows) < 2 {
		return fmt.Errorf("no rows")
	}
	table := make([][]float64, len(rows)-1)
	x, y := newAxis(), newAxis()
	for i, row := range rows[1:] {
		for j, cell := range row {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return err
			}
			table[i] = append(table[i], v)
			if j == 0 {
				x.take(v)
			} else {
				y.take(v)
			}
		}
	}
	px := func(v float64) float64 { return left + x.at(v)*(width-left-right) }
	py := func(v float64) float64 { return height - bottom - y.at(v)*(height-top-bottom) }
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="20" font-size="14">%s</text>`+"\n", left, html.EscapeString(title))
	for _, v := range x.ticks() {
		fmt.Fprintf(w, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n",
			px(v), top, height-bottom, px(v), height-bottom+18, v)
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(w, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			left, py(v), width-right, left-6, py(v)+4, v)
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-12, html.EscapeString(rows[0][0]))
	for j := 1; j < len(rows[0]); j++ {
		colour := colours[(j-1)%len(colours)]
		fmt.Fprintf(w, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
		for _, row := range table {
			fmt.Fprintf(w, "%.1f,%.1f ", px(row[0]), py(row[j]))
		}
		last := table[len(table)-1]
		fmt.Fprintf(w, `"/><circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, px(last[0]), py(last[j]), colour)
		fmt.Fprintf(w, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right+12, top+18*j, colour, html.EscapeString(rows[0][j]))
	}
	_, err := fmt.Fprintln(w, "</svg>")
	return err
}

// axis is a logarithmic axis, in whole powers of ten.
type axis struct{ low, high float64 }

func newAxis() axis { return axis{math.Inf(1), math.Inf(-1)} }

func (a *axis) take(v float64) {
	v = max(v, 1e-3)
	a.low, a.high = min(a.low, math.Floor(math.Log10(v))), max(a.high, math.Ceil(math.Log10(v)))
}

// at returns where a value stands between 0 and 1.
func (a axis) at(v float64) float64 {
	return (math.Log10(max(v, 1e-3)) - a.low) / max(a.high-a.low, 1)
}

func (a axis) ticks() (list []float64) {
	for e := a.low; e <= a.high; e++ {
		list = append(list, math.Pow(10, e))
	}
	return list
}
