package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	maxUnread = 64 << 20    // bytes of answers that wait for their readers
	maxPause  = time.Second // how long a reader may take before its answer makes room for others
)

// unhurried has requests answered whole from memory, so that a client which does not read keeps no other from being answered:
// what is bounded is the bytes that wait to be read.
type unhurried struct {
	log *slog.Logger

	mu     sync.Mutex
	unread []*unread // the oldest first
	bytes  int
}

// unread is an answer under way.
type unread struct {
	since time.Time
	size  int
	cut   func() error // ends it, wherever it is
	over  chan struct{}
}

// whole returns a handler that answers as h does.
func (u *unhurried) whole(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		made := &inMemory{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(made, r)
		cut := func() error { return http.NewResponseController(w).SetWriteDeadline(time.Now()) }
		answer := &unread{size: made.body.Len(), cut: cut, over: make(chan struct{})}
		u.begin(answer)
		defer u.end(answer)
		w.WriteHeader(made.status)
		_, _ = w.Write(made.body.Bytes()) // who went away before the end misses nothing of ours
	}
}

// begin returns when there is room for a: at once or, if others wait for their readers, soon.
func (u *unhurried) begin(a *unread) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.bytes > 0 && u.bytes+a.size > maxUnread {
		oldest := u.unread[0]
		u.mu.Unlock()
		select {
		case <-oldest.over:
		case <-time.After(maxPause - time.Since(oldest.since)):
		}
		u.mu.Lock()
		if u.remove(oldest) {
			u.log.Debug("an answer was given up: it was not read", "bytes", oldest.size, "since", oldest.since, "error", oldest.cut())
		}
	}
	a.since = time.Now()
	u.unread = append(u.unread, a)
	u.bytes += a.size
}

func (u *unhurried) end(a *unread) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.remove(a)
}

// remove frees the room of a, and reports whether it was taken; u.mu must be held.
func (u *unhurried) remove(a *unread) bool {
	i := slices.Index(u.unread, a)
	if i < 0 {
		return false
	}
	u.unread = slices.Delete(u.unread, i, i+1)
	u.bytes -= a.size
	close(a.over)
	return true
}

// inMemory is an http.ResponseWriter that keeps the answer, but for its header.
type inMemory struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (m *inMemory) WriteHeader(status int)         { m.status = status }
func (m *inMemory) Write(part []byte) (int, error) { return m.body.Write(part) }
