package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/audit"
	"github.com/pgscope/pgscope-proxy/config"
)

// openAudit returns nil where no audit records are wanted.
func openAudit(c config.Audit, log *zap.Logger, metrics prometheus.Registerer) (*audit.Log, error) {
	if !c.On() {
		return nil, nil
	}
	o := audit.Options{
		File: c.File, Rotation: audit.Rotation{Size: c.MaxSize, Age: c.MaxAge, Keep: c.Keep},
		Syslog: c.Syslog, Drop: c.Overflow == config.OverflowDrop,
		Failed: func(err error) {
			if err == nil {
				log.Info("audit records are written again")
				return
			}
			log.Error("an audit record was not written; it is tried again", zap.Error(err))
		},
	}
	if c.Stdout {
		o.Stdout = os.Stdout
	}
	l, begin, err := audit.Open(o)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if begin.Torn > 0 {
		log.Warn("the audit file ended in half a record, which was cut off", zap.Int64("bytes", begin.Torn))
	}
	if err := begin.Unreached; err != nil {
		log.Warn("the syslog server cannot be reached: audit records wait until it can", zap.String("audit.syslog", c.Syslog), zap.Error(err))
	}
	measureAudit(l, metrics)
	log.Info("audit begins", zap.Uint64("after record", begin.Seq), zap.String("hash", begin.Hash))
	return l, nil
}

func measureAudit(l *audit.Log, metrics prometheus.Registerer) {
	count := func(name, help string, of func(audit.Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(l.Stats())) })
	}
	metrics.MustRegister(
		count("pgscope_audit_records_total", "Audit records written.", func(s audit.Stats) uint64 { return s.Written }),
		count("pgscope_audit_lost_records_total", "Audit records that found no room.", func(s audit.Stats) uint64 { return s.Lost }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pgscope_audit_waiting_records", Help: "Audit records that wait to be written.",
		}, func() float64 { return float64(l.Stats().Waiting) }),
	)
}

// auditGrace is how long the last records may take.
const auditGrace = 10 * time.Second

func closeAudit(l *audit.Log, log *zap.Logger) error {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), auditGrace)
	defer cancel()
	end, err := l.Close(ctx)
	if err == nil {
		log.Info("audit ends", zap.Uint64("after record", end.Seq), zap.String("hash", end.Hash))
	}
	return err
}

func newAuditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Check audit records"}
	onlyCommands(c)
	c.AddCommand(newAuditVerifyCommand())
	return c
}

func newAuditVerifyCommand() *cobra.Command {
	var chain audit.Chain
	var head string
	c := &cobra.Command{
		Use:   "verify FILE…",
		Short: "Find audit records that were removed, changed or moved",
		Long: "verify reads files of audit records in the order given, the oldest first, - for standard input, and checks\n" +
			"that each record follows the one before. The end of a chain cannot prove itself: compare the number and hash\n" +
			"that are shown with those that the proxy logged when it stopped or started again, or give them as --head.\n" +
			"The exit code is 1 where something is wrong.",
		Example: "  pgscope-proxy audit verify audit.log",
		Args:    arguments(1, math.MaxInt, "one file or more"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if err := readChain(&chain, name, cmd.InOrStdin()); err != nil {
					return err
				}
			}
			if err := chain.Err(); err != nil {
				return err
			}
			seq, hash := chain.Last()
			if at := fmt.Sprintf("%d:%s", seq, hash); head != "" && head != at {
				return fmt.Errorf("the chain ends at %s, not at %s", at, head)
			}
			if chain.Records == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "no records")
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d records, %d to %d, unbroken; %d were lost to overflow\n%d:%s\n",
				chain.Records, chain.First(), seq, chain.Lost, seq, hash)
			return err
		},
	}
	c.Flags().BoolVar(&chain.Restarts, "restarts", false, "let the chain begin anew: of standard output and syslog it does with each process")
	c.Flags().StringVar(&head, "head", "", "`NUMBER:HASH` that the chain must end at")
	return c
}

func readChain(chain *audit.Chain, name string, stdin io.Reader) error {
	if name == "-" {
		return chain.Read("standard input", stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return chain.Read(name, f)
}
