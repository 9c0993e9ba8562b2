package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// logs prints percentiles of the latencies in pgbench's logs of transactions: the third column, less the seventh, by how
// much the transaction began late (pgbench documentation, "Per-Transaction Logging").
func logs(flags *flag.FlagSet) func() error {
	return func() error {
		var all []float64
		for _, file := range flags.Args() {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				columns := strings.Fields(line)
				if len(columns) < 6 {
					continue
				}
				latency, err := strconv.ParseFloat(columns[2], 64)
				if err != nil { // skipped, failed
					continue
				}
				if len(columns) > 6 {
					lag, err := strconv.ParseFloat(columns[6], 64)
					if err != nil {
						return fmt.Errorf("%s: %w", file, err)
					}
					latency -= lag
				}
				all = append(all, latency)
			}
		}
		if len(all) == 0 {
			return errors.New("no samples")
		}
		slices.Sort(all)
		at := func(q float64) float64 { return all[int(q*float64(len(all)-1))] }
		fmt.Printf("%.0f %.0f %.0f %d\n", at(.5), at(.99), at(.999), len(all))
		return nil
	}
}
