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

// idle tells what connections cost that rest, by how much the resident memory and the open files of the target's
// processes grow, and what it cost to open them: the time, and the most that was resident.
func idle(flags *flag.FlagSet) func() error {
	t := targetFlags(flags)
	n := flags.Int("n", 1000, "how many connections")
	pids := flags.String("pid", "", "the target's processes, with commas between them")
	openers := flags.Int("openers", 16, "how many connections are opened at the same time")
	warm := flags.Int("warm", 0, "have each get a result of so many bytes first")
	settle := flags.Duration("settle", 4*time.Second, "wait so long before looking")
	return func() error {
		if err := forgetPeak(*pids); err != nil {
			return err
		}
		before, err := lookAt(*pids)
		if err != nil {
			return err
		}
		first := "SELECT 1"
		if *warm > 0 {
			first = fmt.Sprintf("SELECT repeat('x',%d)", *warm)
		}
		began := time.Now()
		sessions, failed := t.open(*n, *openers, first)
		took := time.Since(began)
		time.Sleep(*settle)
		after, err := lookAt(*pids)
		if err != nil {
			return err
		}
		each := 1 / float64(max(len(sessions), 1))
		fmt.Printf("held=%d rss_before_kib=%d rss_after_kib=%d kib_per_conn=%.1f own_per_conn=%.1f fds_per_conn=%.1f open_s=%.2f rss_peak_kib=%d\n",
			len(sessions), before.kib, after.kib, float64(after.kib-before.kib)*each, float64(after.own-before.own)*each,
			float64(after.files-before.files)*each, took.Seconds(), after.peak)
		for _, s := range sessions { // each still has to be of use
			_, err := s.query("SELECT 1")
			failed = errors.Join(failed, err, s.end())
		}
		return failed
	}
}

// open opens n sessions, so many at the same time, each of which runs a query. Those that cannot be opened are told of.
func (t *target) open(n, openers int, sql string) (sessions []*session, failed error) {
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

// use is what some processes hold: KiB that are resident, those among them that are no pages of a file,
// the most that ever were, and open files.
type use struct{ kib, own, peak, files int }

// forgetPeak makes the most that is resident what is resident now (proc_pid_clear_refs(5)).
func forgetPeak(pids string) (err error) {
	for pid := range strings.SplitSeq(pids, ",") {
		err = errors.Join(err, os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0))
	}
	return err
}

// lookAt reads /proc (proc_pid_status(5)).
func lookAt(pids string) (sum use, err error) {
	for pid := range strings.SplitSeq(pids, ",") {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			return use{}, err
		}
		for key, sum := range map[string]*int{"VmRSS:": &sum.kib, "RssAnon:": &sum.own, "VmHWM:": &sum.peak} {
			_, value, _ := strings.Cut(string(status), key)
			kib, err := strconv.Atoi(strings.Fields(value + " -")[0])
			if err != nil {
				return use{}, err
			}
			*sum += kib
		}
		files, err := os.ReadDir("/proc/" + pid + "/fd")
		if err != nil {
			return use{}, err
		}
		sum.files += len(files)
	}
	return sum, nil
}
