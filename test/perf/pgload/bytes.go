package main

import (
	"bytes"
	"flag"
	"fmt"
	"time"
)

// query tells how fast the answer to a query comes.
func query(flags *flag.FlagSet) func() error {
	t := targetFlags(flags)
	sql := flags.String("sql", "", "what to run")
	return func() error {
		s, err := t.connect(1 << 18)
		if err != nil {
			return err
		}
		began := time.Now()
		total, err := s.query(*sql)
		if err != nil {
			return err
		}
		printRate(total, began)
		return s.end()
	}
}

// copyIn tells how fast COPY FROM STDIN takes rows of a kilobyte, 64 to a message, or one large field.
func copyIn(flags *flag.FlagSet) func() error {
	t := targetFlags(flags)
	mb := flags.Int64("mb", 200, "how much, in MB")
	field := flags.Int("field", 0, "one row of so many bytes")
	return func() error {
		row := append(bytes.Repeat([]byte("x"), 999), '\n')
		data, total := message('d', bytes.Repeat(row, 64)), *mb*1e6
		if *field > 0 {
			data, total = message('d', append(bytes.Repeat([]byte("x"), *field), '\n')), int64(*field)
		}
		s, err := t.connect(1 << 16)
		if err != nil {
			return err
		}
		if _, err := s.query("CREATE TEMP TABLE load_in (a text)"); err != nil {
			return err
		}
		began := time.Now()
		if _, err := s.query("COPY load_in FROM STDIN"); err != nil {
			return err
		}
		sent := int64(0)
		for sent < total {
			n, err := s.Write(data)
			if err != nil {
				return err
			}
			sent += int64(n)
		}
		if _, err := s.Write(message('c', nil)); err != nil {
			return err
		}
		if _, err := s.until("Z"); err != nil {
			return err
		}
		printRate(sent, began)
		return s.end()
	}
}

// printRate prints MB/s.
func printRate(n int64, began time.Time) {
	fmt.Printf("%.1f\n", float64(n)/1e6/time.Since(began).Seconds())
}
