package idaas

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	maxBody     = 16 << 20
	baseBackoff = 500 * time.Millisecond
	maxBackoff  = 30 * time.Second
)

// call is one request of the API: how to build it and what it is called in errors.
type call struct {
	operation string // empty: not one of the API
	what      string // names the request in errors
	hide      poller.Scrubber
	retries   int
	via       *http.RoundTripper // nil: that of the client
	gate      *gate              // of the API; build may set another one than that of the developer API
	// build makes the request, for every attempt anew, and passes the gate. Without a request, it did all there is to do.
	build func(ctx context.Context) (*http.Request, error)
	// renew reports whether there are other credentials than those that were refused; nil if there are no others.
	renew func(ctx context.Context) bool
	// decode reads the body of an answer with status 200; an error means that it is malformed.
	decode func(body []byte) error
	// header is that of the answer, once there is one; it was asked for at sent, and took that long.
	header http.Header
	sent   time.Time
	took   time.Duration
}

// refusals are failures after which another credential may work.
var refusals = []poller.Reason{poller.AccessToken, poller.Unauthorized, poller.Forbidden}

// serverTime returns the Date of a response, unless a cache has kept the response since.
func serverTime(header http.Header) (time.Time, bool) {
	date, err := http.ParseTime(header.Get("Date"))
	return date, err == nil && strings.Trim(strings.Join(header["Age"], ""), "0") == ""
}

// do sends a call until its answer is decoded or its retries are used up. The body is read into buf. Errors are
// failures, or that of ctx.
func (c *Client) do(ctx context.Context, call *call, buf *bytes.Buffer) error {
	renewed, malformed := false, false
	call.gate = c.gate
	for attempt := 0; ; attempt++ {
		f := c.attempt(ctx, call, buf)
		if f == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.free {
			attempt--
			continue
		}
		if f.throttled {
			c.config.Events.Throttled()
			if call.gate.pause(f.hint) {
				c.config.Log.Warn("the API asks to wait: no requests meanwhile", "asked", f.hint, "waiting", min(f.hint, maxHint),
					"operation", call.operation)
			}
		}
		again := f.cause.Reason == poller.Malformed && f.status == 0 && call.operation == OpList && !malformed // a maintenance page, say
		malformed = malformed || again
		if !again && (!f.retry || attempt >= call.retries) {
			if f.foreign && call.operation != OpDiscovery {
				c.instance.doubt()
			}
			if !renewed && call.renew != nil && slices.Contains(refusals, f.cause.Reason) && call.renew(ctx) {
				renewed = true
				continue
			}
			f.retry = false // nor by who needs it for a request of its own
			return f
		}
		if f.hint == 0 || !f.throttled {
			// Full jitter, so that walks that failed together do not come back together.
			d := max(rand.N(min(maxBackoff, baseBackoff<<min(attempt, 10))), min(f.hint, maxHint))
			if err := call.gate.sleep(ctx, WaitBackoff, d); err != nil {
				return err
			}
		}
		c.config.Events.Retry()
	}
}

// attempt sends a call once.
func (c *Client) attempt(ctx context.Context, call *call, buf *bytes.Buffer) *failure {
	req, err := call.build(ctx)
	if err != nil {
		f := &failure{cause: &poller.Error{Reason: poller.ReasonOf(err), Err: err}}
		if cause, ok := errors.AsType[*failure](err); ok {
			// What needed requests of its own was retried there.
			f.retry, f.hint = cause.retry, cause.hint
		}
		return f
	}
	if req == nil {
		return nil
	}
	// The time that the request waits for the gate is not part of its timeout.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := time.AfterFunc(c.config.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer timeout.Stop()
	req.Header.Set("User-Agent", c.config.UserAgent)

	paused := false
	call.sent = time.Now()
	isAPI := call.operation != ""
	if isAPI { // the metadata service returns plain text
		req.Header.Set("Accept", "application/json")
	}
	count := func(code string) {
		if isAPI {
			c.config.Events.Request(call.operation, code, time.Since(call.sent))
		}
	}
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		left := c.config.Timeout - time.Since(call.sent)
		if !timeout.Stop() {
			return
		}
		if isAPI {
			paused = call.gate.pauseLeft() > 0
			waited := call.gate.send(ctx)
			if waited > trifle {
				left = c.config.Timeout
			}
			call.sent = call.sent.Add(waited)
		}
		timeout.Reset(left)
	}}))
	transport := cmp.Or(call.via, c.transport.Load())
	noAnswer := func(err error) *failure {
		f := noAnswer(cmp.Or(context.Cause(ctx), err), call.what, call.hide)
		if f.cause.Reason == poller.Timeout {
			c.leave(transport)
		}
		// A server may close a connection on which nothing was sent for so long.
		f.free = paused && f.cause.Reason == poller.Connection
		return f
	}
	resp, err := (*transport).RoundTrip(req)
	if err != nil {
		count("error")
		return noAnswer(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if date, ok := serverTime(resp.Header); ok && isAPI {
		// It is cut to the second, and was told about the middle of the exchange.
		c.config.Events.Skew(date.Add(500 * time.Millisecond).Sub(call.sent.Add(time.Since(call.sent) / 2)))
	}
	call.header = resp.Header
	buf.Reset()
	var n int64
	if resp.StatusCode != http.StatusSwitchingProtocols { // that "body" is the connection, and heeds no context (golang/go#44988)
		n, err = readBody(buf, resp)
	}
	call.took = time.Since(call.sent)
	count(strconv.Itoa(resp.StatusCode))
	switch {
	case resp.StatusCode != http.StatusOK:
		// An answer's status says enough, should its body be cut.
		return refused(resp.StatusCode, resp.Header, parseError(buf.Bytes()), call.what, call.hide)
	case err != nil:
		return noAnswer(err)
	case n > maxBody:
		return fail(poller.Malformed, "%s: the answer is longer than %d MiB", call.what, maxBody>>20)
	}
	err = call.decode(buf.Bytes())
	if err == nil {
		return nil
	}
	said := parseError(buf.Bytes())
	if said.throttling() || resp.Header.Get(retryAfterHeader) != "" {
		return refused(resp.StatusCode, resp.Header, said, call.what, call.hide)
	}
	if said.code != "" {
		err = fmt.Errorf("status 200 with the error %s", said)
	} else if bytes.HasPrefix(bytes.TrimSpace(buf.Bytes()), []byte("<")) {
		err = errors.New("status 200 with HTML instead of JSON: a proxy or login page?")
	}
	f := fail(poller.Malformed, "%s: %s", call.what, call.hide.Clean(err.Error()))
	f.foreign = said.code == ""
	return f
}

// readBody reads the body of an answer into buf, up to one byte more than it may have. There is room for all of it from the
// start, or for the longest once it is long: a buffer that grows by itself would be there three times over.
func readBody(buf *bytes.Buffer, resp *http.Response) (n int64, err error) {
	const most, long = maxBody + 1, 1 << 20
	size := resp.ContentLength
	if size < 0 {
		if n, err = buf.ReadFrom(io.LimitReader(resp.Body, long)); n < long || err != nil {
			return n, err
		}
		size = most
	}
	buf.Grow(int(min(size, most)-n) + bytes.MinRead)
	rest, err := buf.ReadFrom(io.LimitReader(resp.Body, most-n))
	return n + rest, err
}
