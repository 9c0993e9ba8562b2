package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// openers is how many connections are opened at the same time.
const openers = 16

// idle tells what connections cost that rest: by how much the resident memory and the open files of the target's processes grow.
func idle(flags *flag.FlagSet) func() error {
	t := targetFlags(flags)
	n := flags.Int("n", 1000, "how many connections")
	pids := flags.String("pid", "", "the target's processes, with commas between them")
	warm := flags.Int("warm", 0, "have each get a result of so many bytes first")
	settle := flags.Duration("settle", 4*time.Second, "wait so long before looking")
	return func() error {
		before, err := lookAt(*pids)
		if err != nil {
			return err
		}
		first := "SELECT 1"
		if *warm > 0 {
			first = fmt.Sprintf("SELECT repeat('x',%d)", *warm)
		}
		began := time.Now()
		sessions, failed := t.open(*n, first)
		took := time.Since(began)
		time.Sleep(*settle)
		after, err := lookAt(*pids)
		if err != nil {
			return err
		}
		each := 1 / float64(max(len(sessions), 1))
		fmt.Printf("held=%d rss_before_kib=%d rss_after_kib=%d kib_per_conn=%.1f fds_per_conn=%.1f open_s=%.1f\n",
			len(sessions), before.kib, after.kib, float64(after.kib-before.kib)*each, float64(after.files-before.files)*each, took.Seconds())
		for _, s := range sessions { // each still has to be of use
			_, err := s.query("SELECT 1")
			failed = errors.Join(failed, err, s.end())
		}
		return failed
	}
}

// open opens n sessions, each of which runs a query. Those that cannot be opened are told of.
func (t *target) open(n int, sql string) (sessions []*session, failed error) {
	var (
		mu      sync.Mutex
		working sync.WaitGroup
		jobs    = make(chan struct{})
	)
	for range openers {
		working.Go(func() {
			for range jobs {
				s, err := t.connect(4 << 10)
				if err == nil {
					_, err = s.query(sql)
				}
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
				} else {
					sessions = append(sessions, s)
				}
				mu.Unlock()
			}
		})
	}
	for range n {
		jobs <- struct{}{}
	}
	close(jobs)
	working.Wait()
	return sessions, failed
}

// use is what some processes hold.
type use struct{ kib, files int }

// lookAt reads /proc (proc_pid_status(5)).
func lookAt(pids string) (sum use, err error) {
	for pid := range strings.SplitSeq(pids, ",") {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			return use{}, err
		}
		_, rss, _ := strings.Cut(string(status), "VmRSS:")
		kib, err := strconv.Atoi(strings.Fields(rss + " -")[0])
		if err != nil {
			return use{}, err
		}
		files, err := os.ReadDir("/proc/" + pid + "/fd")
		if err != nil {
			return use{}, err
		}
		sum.kib += kib
		sum.files += len(files)
	}
	return sum, nil
}
