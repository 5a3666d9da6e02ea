package web

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxBuilt  = 1                      // responses that are built at a time: what that takes, beside the response, is the peak of memory
	maxWait   = 30 * time.Second       // of a request for a slot
	maxUnread = 32 << 20               // bytes of responses that wait for their clients
	maxPause  = 200 * time.Millisecond // without progress, after which a response makes room for others
	pollRoom  = 10 * time.Millisecond  // between looks whether there is room
	partSize  = 64 << 10               // bytes allocated at a time, and written at a time
)

// bufferedResponses has requests answered from memory, so that a client that does not read keeps no other from being
// answered. Memory is bounded: a request takes a slot before its response is built and keeps it until there is room.
type bufferedResponses struct {
	log   *slog.Logger
	slots chan *gzip.Writer

	mu     sync.Mutex
	unread []*response
	bytes  int
}

func newBufferedResponses(log *slog.Logger) *bufferedResponses {
	b := &bufferedResponses{log: log, slots: make(chan *gzip.Writer, maxBuilt)}
	for range maxBuilt {
		b.slots <- gzip.NewWriter(nil)
	}
	return b
}

// handler returns a handler that responds as h does, compressed where the client accepts that.
func (b *bufferedResponses) handler(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var slot *gzip.Writer
		select {
		case slot = <-b.slots:
		case <-r.Context().Done():
			return
		case <-time.After(maxWait):
			http.Error(w, "busy: waited "+maxWait.String()+" for other requests", http.StatusServiceUnavailable)
			return
		}
		built := b.build(h, w, r, slot)
		defer b.end(built)
		w.WriteHeader(built.status)
		for i, part := range built.parts {
			if _, err := w.Write(part); err != nil {
				return // the client has gone, or the response was cut off
			}
			built.parts[i] = nil
			b.written(built, len(part))
		}
	}
}

// build returns the response of h when there is room for it, and gives the slot back.
func (b *bufferedResponses) build(h http.Handler, w http.ResponseWriter, r *http.Request, slot *gzip.Writer) *response {
	defer func() {
		slot.Reset(nil)
		b.slots <- slot
	}()
	built := &response{ResponseWriter: w, status: http.StatusOK}
	built.body = &built.parts
	compressed := acceptsGzip(r.Header.Get("Accept-Encoding"))
	if compressed {
		slot.Reset(&built.parts)
		built.body = slot
	}
	h.ServeHTTP(built, r)
	if compressed {
		_ = slot.Close() // writing to memory does not fail
		w.Header().Set("Content-Encoding", "gzip")
	}
	for _, part := range built.parts {
		built.size += len(part)
	}
	w.Header().Add("Vary", "Accept-Encoding")
	w.Header().Set("Content-Length", strconv.Itoa(built.size))
	b.admit(built)
	return built
}

// admit returns when there is room for a response: at once, when others were read, or when one that is not read was cut off.
func (b *bufferedResponses) admit(built *response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > 0 && b.bytes+built.size > maxUnread {
		stalled := slices.MinFunc(b.unread, func(x, y *response) int { return x.progress.Compare(y.progress) })
		if pause := time.Since(stalled.progress); pause >= maxPause {
			err := http.NewResponseController(stalled.ResponseWriter).SetWriteDeadline(time.Now())
			b.log.Debug("response cut off: the client does not read", "bytes", stalled.size, "error", err)
			b.drop(stalled)
			continue
		}
		b.mu.Unlock()
		time.Sleep(pollRoom)
		b.mu.Lock()
	}
	built.progress = time.Now()
	b.unread = append(b.unread, built)
	b.bytes += built.size
}

// written makes room for as many bytes as the client of a response took.
func (b *bufferedResponses) written(r *response, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Contains(b.unread, r) {
		r.progress = time.Now()
		r.size -= n
		b.bytes -= n
	}
}

func (b *bufferedResponses) end(r *response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(r)
}

// drop makes room for all that is left of a response; b.mu must be held.
func (b *bufferedResponses) drop(r *response) {
	if i := slices.Index(b.unread, r); i >= 0 {
		b.unread = slices.Delete(b.unread, i, i+1)
		b.bytes -= r.size
	}
}

// response is an http.ResponseWriter that keeps all but the header in memory.
type response struct {
	http.ResponseWriter
	status   int
	body     io.Writer // to parts
	parts    parts
	size     int       // bytes that are not written yet
	progress time.Time // when the client last took a part
}

func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

// parts is a text that grows without being copied.
type parts [][]byte

func (p *parts) Write(text []byte) (int, error) {
	for rest := text; len(rest) > 0; {
		last := len(*p) - 1
		if last < 0 || len((*p)[last]) == partSize {
			*p = append(*p, make([]byte, 0, partSize))
			last++
		}
		n := min(len(rest), partSize-len((*p)[last]))
		(*p)[last] = append((*p)[last], rest[:n]...)
		rest = rest[n:]
	}
	return len(text), nil
}

// acceptsGzip reports whether an Accept-Encoding header names gzip with a weight other than 0.
func acceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if strings.EqualFold(name, "gzip") {
			return strings.Trim(strings.TrimPrefix(strings.ToLower(weight), "q="), "0.") != "" || weight == ""
		}
	}
	return false
}
