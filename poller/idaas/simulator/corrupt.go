package simulator

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const loginPage = `<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action="/login" method="post"></form></body></html>`

// corrupt responds to a request with a fault.
func (s *Server) corrupt(to reply, a answer, f Fault) {
	header := to.w.Header()
	if f.Kind != SlowDrip && !s.wait(to.r.Context(), f.Delay) {
		panic(http.ErrAbortHandler)
	}
	if f.RetryAfter != "" {
		header.Set("Retry-After", f.RetryAfter)
	}
	if f.AcsAfter != 0 {
		header.Set("X-Acs-Retry-After", strconv.FormatInt(f.AcsAfter.Milliseconds(), 10))
	}
	if f.TimeLeft != 0 {
		header.Set("X-Ratelimit-User", rateLimit(1, f.TimeLeft))
	}
	if f.TimeLeftAPI != 0 {
		header.Set("X-Ratelimit-User-Api", rateLimit(1, f.TimeLeftAPI))
	}
	switch f.Kind {
	case Status:
		s.fail(to, f, http.StatusInternalServerError, "internal_error")
	case Throttle:
		s.fail(to, f, http.StatusTooManyRequests, "Throttling.User")
	case ErrorUnder200:
		s.fail(to, f, http.StatusOK, "internal_error")
	case Reset:
		panic(http.ErrAbortHandler)
	case Hang:
		s.hang(to.r.Context())
		panic(http.ErrAbortHandler)
	case SwitchProtocols:
		s.switchProtocols(to)
	case Redirect:
		header.Set("Location", cmp.Or(f.Body, "/login"))
		s.send(to, cmp.Or(f.Status, http.StatusFound), nil)
	case Garbage:
		s.send(to, http.StatusOK, []byte("\x00\x1f\x8b\x08garbage\xff\xfe"))
	case HTML:
		header.Set("Content-Type", "text/html; charset=utf-8")
		s.send(to, http.StatusOK, []byte(loginPage))
	case EmptyObject:
		s.send(to, http.StatusOK, []byte("{}"))
	case Null:
		s.send(to, http.StatusOK, []byte("null"))
	case HugeBody:
		s.flood(to, cmp.Or(f.Size, 64<<20))
	default:
		s.alter(to, a, f)
	}
}

// hang returns when the request or the Server ends.
func (s *Server) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.done:
	}
}

// switchProtocols keeps the connection open, without further data.
func (s *Server) switchProtocols(to reply) {
	s.recordStatus(to.number, http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(to.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
	gone, cancel := context.WithCancel(to.r.Context())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, conn) // until the client closes the connection
	}()
	s.hang(gone)
}

func (s *Server) fail(to reply, f Fault, status int, code string) {
	status = cmp.Or(f.Status, status)
	body := []byte(f.Body)
	if f.Body == "" {
		body = f.Shape.failure(status, cmp.Or(f.Code, code), "simulated fault").body(to.id, alteration{})
	}
	if f.Shape == ShapeText {
		to.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	s.send(to, status, body)
}

// alter sends the correct response with a change.
func (s *Server) alter(to reply, a answer, f Fault) {
	maps.Copy(to.w.Header(), a.header)
	if a.page != nil {
		s.turn(to.r.Context(), a.page, f)
	}
	switch f.Kind {
	case EmptyList:
		a.listing.ids = nil
	case HalfList:
		a.listing.ids = a.listing.ids[:len(a.listing.ids)/2]
	}
	body := a.body(to.id, f.alteration(a.key))
	switch f.Kind {
	case SlowDrip:
		s.drip(to, a.status, body, cmp.Or(f.Delay, 10*time.Millisecond))
		return
	case DeepNesting:
		depth := int(cmp.Or(f.Size, 100_000))
		body = fmt.Appendf(body[:len(body)-1], `,"nested":%s%s}`, strings.Repeat("[", depth), strings.Repeat("]", depth))
	case TrailingText:
		body = append(body, " and so on"...)
	case TruncatedJSON:
		body = body[:len(body)/2]
	case CutBody:
		s.recordStatus(to.number, a.status)
		to.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		to.w.WriteHeader(a.status)
		_, _ = to.w.Write(body[:len(body)/2])
		flush(to.w)
		panic(http.ErrAbortHandler)
	}
	s.send(to, a.status, body)
}

// alteration returns the fault's change of JSON members. key is the default of Field.
func (f Fault) alteration(key string) alteration {
	change := alteration{field: cmp.Or(f.Field, key)}
	switch f.Kind {
	case WrongType:
		change.value = cmp.Or(f.Body, "{}")
	case MissingField:
		change.drop = true
	case DuplicateNames:
		change.twice = true
	case InvalidUTF8:
		change.value = "\"\xff\xfe\""
	case UnknownFields:
		change.extra = `"newMember":{"list":[1,2.5,{"deep":null}],"on":true},"another":"text"`
	case MissingID:
		change = alteration{field: "authenticationTokenId", drop: true}
	case MissingTotal:
		change = alteration{field: "totalCount", drop: true}
	case NegativeExpiration:
		change = alteration{field: "expirationTime", value: "-1"}
	default:
		return alteration{}
	}
	return change
}

// turn changes the tokens and the nextToken of a page.
func (s *Server) turn(ctx context.Context, p *page, f Fault) {
	switch n := len(p.items); f.Kind {
	case EmptyPage:
		p.items, p.more, p.next = nil, true, p.position
	case ShortPage:
		if n > 1 {
			p.more, p.next = true, p.items[n/2].position
			p.items = p.items[:n/2]
		}
	case Duplicates:
		switch {
		case p.more && n > 1:
			p.next = p.items[n-1].position
		case n > 0:
			p.items = append(p.items, p.items[0])
		}
	case Loop:
		s.loop(ctx, p, int(cmp.Or(f.Size, 1)))
	}
}

// loop sets nextToken to that of an earlier page of the walk; for the first page, to one for it.
func (s *Server) loop(ctx context.Context, p *page, back int) {
	target := max(p.page-back+1, 1)
	p.more, p.next = true, 0
	if skip := (target - 1) * p.size; skip > 0 {
		before := p.query
		before.position, before.size = 0, skip
		p.next = s.page(ctx, before).next
	}
	p.page = target - 1
}

// drip sends a body byte by byte.
func (s *Server) drip(to reply, status int, body []byte, pause time.Duration) {
	s.recordStatus(to.number, status)
	to.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	to.w.WriteHeader(status)
	for i := range body {
		if !s.wait(to.r.Context(), pause) {
			panic(http.ErrAbortHandler)
		}
		_, _ = to.w.Write(body[i : i+1])
		flush(to.w)
	}
}

// flood streams a valid object of the given size.
func (s *Server) flood(to reply, size int64) {
	const head, tail = `{"totalCount":0,"entities":[`, `]}`
	size = max(size, int64(len(head)+len(tail)))
	s.recordStatus(to.number, http.StatusOK)
	to.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.WriteString(to.w, head)
	chunk := []byte(strings.Repeat(" ", 32<<10))
	for left := size - int64(len(head)+len(tail)); left > 0; left -= int64(len(chunk)) {
		chunk = chunk[:min(left, int64(len(chunk)))]
		if _, err := to.w.Write(chunk); err != nil || to.r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
	}
	_, _ = io.WriteString(to.w, tail)
}

func flush(w http.ResponseWriter) {
	// A writer that cannot flush sends all data at the end.
	_ = http.NewResponseController(w).Flush()
}
