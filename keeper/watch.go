package keeper

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// watcher tells when one of some files changes. It watches their folders: editors and deployments put a new file in the
// place of the old one, and Kubernetes turns the link "..data" to a new folder, beside links that stay (AtomicWriter,
// pkg/volume/util/atomic_writer.go).
type watcher struct {
	log     *zap.Logger
	changed func()
	events  *fsnotify.Watcher // nil where the system has none left
	done    sync.WaitGroup

	mu      sync.Mutex
	names   map[string]bool // paths that matter
	folders map[string]bool
}

// dataLink is what Kubernetes turns.
const dataLink = "..data"

func newWatcher(log *zap.Logger, changed func()) *watcher {
	w := &watcher{log: log, changed: changed}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("the manifest's files cannot be watched: send SIGHUP when they have changed", zap.Error(err))
		return w
	}
	w.events = events
	w.done.Go(w.run)
	return w
}

// watch watches these files instead of those before.
func (w *watcher) watch(files []string) {
	if w.events == nil {
		return
	}
	names, folders := make(map[string]bool), make(map[string]bool)
	add := func(path string) {
		folder := filepath.Dir(path)
		names[path], names[filepath.Join(folder, dataLink)], folders[folder] = true, true, true
	}
	for _, f := range files {
		path, err := filepath.Abs(f)
		if err != nil {
			w.log.Warn("a file of the manifest is not watched", zap.String("file", f), zap.Error(err))
			continue
		}
		add(path)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			add(real)
		}
	}
	w.mu.Lock()
	before := w.folders
	w.names, w.folders = names, folders
	w.mu.Unlock()
	for folder := range folders { // also those that are watched: one that was made anew is not
		if err := w.events.Add(folder); err != nil {
			w.log.Warn("a folder of the manifest is not watched: send SIGHUP when it has changed", zap.String("folder", folder), zap.Error(err))
		}
	}
	for folder := range before {
		if !folders[folder] {
			_ = w.events.Remove(folder) // it may be gone
		}
	}
}

// run waits for changes, and after one until no more have come for a while.
func (w *watcher) run() {
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	<-quiet.C
	for {
		select {
		case e, ok := <-w.events.Events:
			if !ok {
				return
			}
			if w.matters(e) {
				quiet.Reset(settle)
			}
		case err, ok := <-w.events.Errors:
			if !ok {
				return
			}
			w.log.Warn("changes of the manifest may have been missed", zap.Error(err))
			quiet.Reset(settle)
		case <-quiet.C:
			w.changed()
		}
	}
}

func (w *watcher) matters(e fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[e.Name] && e.Op != fsnotify.Chmod
}

func (w *watcher) close() {
	if w.events == nil {
		return
	}
	if err := w.events.Close(); err != nil {
		w.log.Warn("watching the manifest", zap.Error(err))
	}
	w.done.Wait()
}
