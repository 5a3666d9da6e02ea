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
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	maxBody     = 16 << 20
	baseBackoff = 500 * time.Millisecond
	maxBackoff  = 30 * time.Second
)

// call is one request of the API, with its retries.
type call struct {
	operation string // empty: not a request of the API
	what      string // names the request in errors
	hide      poller.Scrubber
	retries   int
	via       *http.RoundTripper // nil: that of the client
	limiter   *limiter           // of the developer API, unless build sets another one
	// build returns the request for one attempt, when the limiter lets it pass; nil if there is nothing to send.
	build func(ctx context.Context) (*http.Request, error)
	// renew reports whether there are other credentials than the refused ones. It may be nil.
	renew func(ctx context.Context) bool
	// decode decodes the body of a response with status 200. After an error the response is malformed.
	decode func(body []byte) error
	header http.Header   // of the response
	sent   time.Time     // when the request was sent
	took   time.Duration // from then to the end of the response
}

// refusals are the reasons for which other credentials may succeed.
var refusals = []poller.Reason{poller.AccessToken, poller.Unauthorized, poller.Forbidden}

// do sends a call until its response is decoded or its retries are used. It reads the body into buf. It returns a failure, or the
// error of ctx.
func (c *Client) do(ctx context.Context, call *call, buf *bytes.Buffer) error {
	renewed, malformed := false, false
	call.limiter = c.developer
	for attempt := 0; ; attempt++ {
		f := c.attempt(ctx, call, buf)
		if f == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.notCounted {
			attempt--
			continue
		}
		if f.throttled {
			c.config.Events.Throttled()
			if call.limiter.pause(f.retryAfter) {
				c.config.Log.Warn("requests paused by the API", "requested", f.retryAfter, "pause", min(f.retryAfter, maxRetryAfter),
					"operation", call.operation)
			}
		}
		// A page that is malformed, such as a maintenance page with status 200, is requested again once.
		again := f.cause.Reason == poller.Malformed && f.status == 0 && call.operation == OpList && !malformed
		malformed = malformed || again
		if !again && (!f.retry || attempt >= call.retries) {
			if f.moved && call.operation != OpDiscovery {
				c.instance.refresh()
			}
			if !renewed && call.renew != nil && slices.Contains(refusals, f.cause.Reason) && call.renew(ctx) {
				renewed = true
				continue
			}
			f.retry = false // also for requests that depend on this one
			return f
		}
		if f.retryAfter == 0 || !f.throttled {
			// Full jitter: walks that fail at the same time do not retry at the same time.
			d := max(rand.N(min(maxBackoff, baseBackoff<<min(attempt, 10))), min(f.retryAfter, maxRetryAfter))
			if err := call.limiter.sleep(ctx, WaitBackoff, d); err != nil {
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
		return failBecause(poller.ReasonOf(err), "%w", err)
	}
	if req == nil {
		return nil
	}
	// The timeout does not include the time in the limiter.
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
			paused = call.limiter.pauseLeft() > 0
			waited := call.limiter.send(ctx)
			if waited > minSleep {
				left = c.config.Timeout
			}
			call.sent = call.sent.Add(waited)
		}
		timeout.Reset(left)
	}}))
	transport := cmp.Or(call.via, c.transport.Load())
	failed := func(err error) *failure {
		f := noResponse(cmp.Or(context.Cause(ctx), err), c.config.Timeout, call.what, call.hide)
		if f.cause.Reason == poller.Timeout {
			c.replaceTransport(transport)
		}
		// A server may close a connection that was idle during a pause.
		f.notCounted = paused && f.cause.Reason == poller.Connection
		return f
	}
	resp, err := (*transport).RoundTrip(req)
	if err != nil {
		count("error")
		return failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if date, ok := serverTime(resp.Header); ok && isAPI {
		// Date has whole seconds. It is compared with the middle of the exchange.
		c.config.Events.Skew(date.Add(500 * time.Millisecond).Sub(call.sent.Add(time.Since(call.sent) / 2)))
	}
	call.header = resp.Header
	n, err := readBody(buf, resp)
	call.took = time.Since(call.sent)
	count(strconv.Itoa(resp.StatusCode))
	switch {
	case resp.StatusCode != http.StatusOK: // the status is enough, even if the body is incomplete
		return call.refused(resp.StatusCode, parseError(buf.Bytes()))
	case err != nil:
		return failed(err)
	case n > maxBody:
		return fail(poller.Malformed, "%s: the response is longer than %d MiB", call.what, maxBody>>20)
	}
	if err = call.decode(buf.Bytes()); err == nil {
		return nil
	}
	body := parseError(buf.Bytes())
	if body.throttling() || resp.Header.Get(retryAfterHeader) != "" {
		return call.refused(resp.StatusCode, body)
	}
	if body.code != "" {
		err = fmt.Errorf("status 200 with the error %s", body)
	} else if bytes.HasPrefix(bytes.TrimSpace(buf.Bytes()), []byte("<")) {
		err = errors.New("status 200 with HTML instead of JSON: a proxy or login page?")
	}
	f := fail(poller.Malformed, "%s: %s", call.what, call.hide.Clean(err.Error()))
	f.moved = body.code == ""
	return f
}

// readBody reads the body of a response into buf, at most maxBody+1 bytes. It allocates the announced size or, for a long body of
// unknown size, the maximum: a buffer that grows in steps would need three times as much.
func readBody(buf *bytes.Buffer, resp *http.Response) (n int64, err error) {
	buf.Reset()
	if resp.StatusCode == http.StatusSwitchingProtocols { // the body is the connection, and ignores the context (golang/go#44988)
		return 0, nil
	}
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
