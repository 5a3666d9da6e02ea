package web

import (
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxWait  = 30 * time.Second       // of a request for its response
	maxPause = 200 * time.Millisecond // without progress, after which a response is cut off if its memory is needed
	pollRoom = 10 * time.Millisecond  // between two checks for free memory
	partSize = 64 << 10               // bytes allocated at a time, and written at a time
)

// maxUnread is the limit of bytes of responses that clients have not read. Only tests change it.
var maxUnread = 32 << 20

// bufferedResponses serves responses from memory, one built at a time. Equal requests that wait at the same time share one
// response: clients that do not read neither delay others nor multiply the work. Memory has a fixed limit.
type bufferedResponses struct {
	log  *slog.Logger
	slot chan *gzip.Writer // held while a response is built

	mu      sync.Mutex
	waiting map[string]*response // not yet built, by request
	unread  []*response
	bytes   int // of unread
}

func newBufferedResponses(log *slog.Logger) *bufferedResponses {
	b := &bufferedResponses{log: log, slot: make(chan *gzip.Writer, 1), waiting: map[string]*response{}}
	b.slot <- gzip.NewWriter(nil)
	return b
}

// handler returns a handler that responds as h does, compressed for clients that accept gzip.
func (b *bufferedResponses) handler(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		compressed := acceptsGzip(r.Header.Get("Accept-Encoding"))
		key := fmt.Sprintf("%s %q %t", r.URL, r.Header["Accept"], compressed)
		built := b.join(key, w)
		defer b.leave(key, built, w)
		select {
		case slot := <-b.slot:
			b.build(h, r, compressed, key, built, slot)
		case <-built.done:
		case <-r.Context().Done():
			return
		case <-time.After(maxWait):
			http.Error(w, "busy: timed out after "+maxWait.String(), http.StatusServiceUnavailable)
			return
		}
		maps.Copy(w.Header(), built.header)
		w.WriteHeader(built.status)
		for _, part := range built.parts {
			if _, err := w.Write(part); err != nil {
				return // the client is gone, or the response was cut off
			}
			b.mu.Lock()
			built.progress = time.Now()
			b.mu.Unlock()
		}
	}
}

// join returns the response to a request, which this or another client builds next.
func (b *bufferedResponses) join(key string, w http.ResponseWriter) *response {
	b.mu.Lock()
	defer b.mu.Unlock()
	built := b.waiting[key]
	if built == nil {
		built = &response{status: http.StatusOK, header: http.Header{}, done: make(chan struct{})}
		b.waiting[key] = built
	}
	built.clients = append(built.clients, w)
	return built
}

// leave frees the memory of a response after its last client.
func (b *bufferedResponses) leave(key string, r *response, w http.ResponseWriter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.clients = slices.DeleteFunc(r.clients, func(c http.ResponseWriter) bool { return c == w }); len(r.clients) == 0 {
		b.drop(r)
		if b.waiting[key] == r {
			delete(b.waiting, key)
		}
	}
}

// build builds a response, unless another of its clients has done that, waits for the memory and gives the slot back.
func (b *bufferedResponses) build(h http.Handler, r *http.Request, compressed bool, key string, built *response, slot *gzip.Writer) {
	defer func() { b.slot <- slot }()
	select {
	case <-built.done:
		return
	default:
	}
	b.mu.Lock()
	delete(b.waiting, key) // a later request gets newer data
	b.mu.Unlock()
	defer close(built.done)
	built.body = &built.parts
	if compressed {
		slot.Reset(&built.parts)
		built.body = slot
	}
	h.ServeHTTP(built, r)
	if compressed {
		_ = slot.Close() // writing to memory does not fail
		slot.Reset(nil)
		built.header.Set("Content-Encoding", "gzip")
	}
	for _, part := range built.parts {
		built.size += len(part)
	}
	built.header.Add("Vary", "Accept-Encoding")
	built.header.Set("Content-Length", strconv.Itoa(built.size))
	b.admit(built)
}

// admit returns when there is memory for a response: at once, after others were read, or after one without progress is cut off.
func (b *bufferedResponses) admit(built *response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > 0 && b.bytes+built.size > maxUnread {
		stalled := slices.MinFunc(b.unread, func(x, y *response) int { return x.progress.Compare(y.progress) })
		if time.Since(stalled.progress) >= maxPause {
			b.log.Debug("response cut off, client does not read", "bytes", stalled.size, "clients", len(stalled.clients))
			for _, w := range stalled.clients {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now())
			}
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

// drop frees the memory of a response; b.mu must be held.
func (b *bufferedResponses) drop(r *response) {
	if i := slices.Index(b.unread, r); i >= 0 {
		b.unread = slices.Delete(b.unread, i, i+1)
		b.bytes -= r.size
	}
}

// response is an http.ResponseWriter to memory. After done is closed, it only changes in clients and progress.
type response struct {
	done     chan struct{}
	header   http.Header
	status   int
	body     io.Writer // to parts
	parts    parts
	size     int
	clients  []http.ResponseWriter // that wait or read
	progress time.Time             // when a client last read a part
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

// parts is a text that grows without copies.
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
