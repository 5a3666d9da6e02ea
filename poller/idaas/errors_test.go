package idaas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestErrorBodies(t *testing.T) {
	for _, tt := range []struct {
		body string
		want apiError
		text string
	}{
		{
			`{"error":"invalid_client","error_description":"no such client","request_id":"r1"}`,
			apiError{"invalid_client", "no such client", "r1"},
			"invalid_client: no such client",
		},
		{`{"code":"c","message":"m","requestId":"r2"}`, apiError{"c", "m", "r2"}, "c: m"},
		{
			`{"Code":"Throttling.User","Message":"denied","RequestId":"r3","HostId":"h","Recommend":"x"}`,
			apiError{"Throttling.User", "denied", "r3"},
			"Throttling.User: denied",
		},
		{`{"error":"only"}`, apiError{code: "only"}, "only"},
		{`{"message":"only"}`, apiError{message: "only"}, "only"},
		{`{"error":"","Code":"second"}`, apiError{code: "second"}, "second"},
		{`{"error":{"code":1},"code":7,"message":null}`, apiError{}, ""},
		{`{"error":"a","error":"b"}`, apiError{code: "b"}, "b"},
		{"{\"error\":\"a\xff\"}", apiError{code: "a\ufffd"}, "a\ufffd"},
		{`{"error":"deep","x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, apiError{code: "deep"}, "deep"},
		{`{"entities":[]}`, apiError{}, ""},
		{`Throttling.User: slow down`, apiError{}, ""},
		{`<html>`, apiError{}, ""},
		{`[]`, apiError{}, ""},
		{`null`, apiError{}, ""},
		{``, apiError{}, ""},
		{`{"error":"x","pad":"` + strings.Repeat("x", maxErrorBody) + `"}`, apiError{}, ""},
	} {
		if got := parseError([]byte(tt.body)); got != tt.want || got.String() != tt.text {
			t.Errorf("%.100s: %+v %q", tt.body, got, got.String())
		}
	}
}

func TestCodesThatSaySlowDown(t *testing.T) {
	for code, want := range map[string]bool{
		"Throttling": true, "Throttling.User": true, "Throttling.Api": true, "Throttling.Anything": true,
		"ThrottlingX": false, "throttling": false, "XThrottling": false, "": false, "internal_error": false,
	} {
		if got := (apiError{code: code}).throttling(); got != want {
			t.Errorf("%q: %v", code, got)
		}
		if got := (apiError{code: "400", message: "denied: " + code + ", try later"}).throttling(); got != want {
			t.Errorf("%q in the message: %v", code, got)
		}
	}
}

// Each status is the response to the second of three pages, until the walk fails.
func TestStatuses(t *testing.T) {
	t.Parallel()
	const retried = 4 + 1
	type want struct {
		reason   poller.Reason
		requests int
	}
	of := map[int]want{
		401: {poller.Unauthorized, 2}, 403: {poller.Forbidden, 1}, 404: {poller.NotFound, 1}, 429: {poller.Throttled, retried},
		408: {poller.ClientError, retried}, 425: {poller.ClientError, retried},
		201: {poller.Malformed, 1}, 202: {poller.Malformed, 1}, 203: {poller.Malformed, 1}, 204: {poller.Malformed, 1},
		205: {poller.Malformed, 1}, 206: {poller.Malformed, 1}, 299: {poller.Malformed, 1},
	}
	statuses := []int{201, 202, 203, 204, 205, 206, 299}
	for status := 300; status < 600; status++ {
		if status%100 > 31 && status%10 != 1 && status != 599 {
			continue
		}
		statuses = append(statuses, status)
		if _, ok := of[status]; !ok {
			of[status] = want{poller.ClientError, 1}
			if status >= 500 {
				of[status] = want{poller.ServerError, retried}
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 30)
		c := a.client(pageSize(10))
		for _, status := range statuses {
			remove := a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: status, Page: 2})
			before, events := a.Requests(simulator.List), a.events.soFar()
			r := a.poll(t, c, targets...)[0]
			remove()
			want := of[status]
			if r.Failure == nil || r.Failure.Reason != want.reason {
				t.Errorf("%d: %+v, want %s", status, r.Failure, want.reason)
				continue
			}
			if n := a.Requests(simulator.List) - before - 1; n != want.requests {
				t.Errorf("%d: %d requests for the page, want %d", status, n, want.requests)
			}
			if !strings.HasPrefix(r.Failure.Text, fmt.Sprintf("page 2: %d %s", status, http.StatusText(status))) ||
				!strings.Contains(r.Failure.Text, "request id ") {
				t.Errorf("%d: text %q", status, r.Failure.Text)
			}
			after := a.events.soFar()
			if n := after.requests[fmt.Sprint("list ", status)] - events.requests[fmt.Sprint("list ", status)]; n != want.requests {
				t.Errorf("%d: reported %d requests, want %d", status, n, want.requests)
			}
			wantRetries := want.requests - 1
			if status == http.StatusUnauthorized {
				wantRetries = 0
			}
			if n := after.retries - events.retries; n != wantRetries {
				t.Errorf("%d: reported %d retries, want %d", status, n, wantRetries)
			}
			if throttled := after.throttled - events.throttled; throttled != 0 && status != 429 || throttled != retried && status == 429 {
				t.Errorf("%d: reported %d throttles", status, throttled)
			}
		}
		if a.Requests("unknown") != 0 {
			t.Error("a redirect was followed")
		}
		a.checkCounts(t, a.poll(t, c, targets...)[0])
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, operation := range []string{simulator.List, simulator.Access} {
		for _, location := range []string{"/login", "http://elsewhere.test/login", "https://elsewhere.test/", "http://[::1", "%zz", "mailto:x"} {
			for _, status := range []int{301, 302, 303, 307, 308} {
				synctest.Test(t, func(t *testing.T) {
					a := newAPI(t, simulator.Config{})
					targets := a.fill(1, 3)
					a.Inject(simulator.Fault{Operation: operation, Kind: simulator.Redirect, Status: status, Body: location})
					r := a.poll(t, a.client(), targets...)[0]
					want := poller.ClientError
					if operation == simulator.Access {
						want = poller.AccessToken
					}
					if r.Failure == nil || r.Failure.Reason != want || a.Requests(operation) != 1 || a.Requests("unknown") != 0 {
						t.Errorf(
							"%s %d to %s: %+v after %d requests, %d of them elsewhere", operation, status, location, r.Failure, a.Requests(""),
							a.Requests("unknown"),
						)
					}
				})
			}
		}
	}
}

func TestCodesThatMeanNotFound(t *testing.T) {
	for _, tt := range []struct {
		fault simulator.Fault
		want  poller.Reason
	}{
		{simulator.Fault{Status: 404}, poller.NotFound},
		{simulator.Fault{Status: 400, Code: "credential_provider_not_found"}, poller.NotFound},
		{simulator.Fault{Status: 400, Code: "EntityNotFound", Shape: simulator.ShapeGateway}, poller.NotFound},
		{simulator.Fault{Status: 422, Code: "x_not_found", Shape: simulator.ShapeLower}, poller.NotFound},
		{simulator.Fault{Status: 403, Code: "x_not_found"}, poller.Forbidden},
		{simulator.Fault{Status: 302, Code: "x_not_found"}, poller.ClientError},
		{simulator.Fault{Status: 400, Code: "not_found_x"}, poller.ClientError},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{})
			tt.fault.Operation, tt.fault.Kind = simulator.List, simulator.Status
			a.Inject(tt.fault)
			r := a.poll(t, a.client(pageSize(20)), a.fill(1, 3)...)[0]
			if r.Failure == nil || r.Failure.Reason != tt.want || a.Requests(simulator.List) != 1 {
				t.Errorf("%+v: %+v by %d requests, want %s", tt.fault, r.Failure, a.Requests(simulator.List), tt.want)
			}
		})
	}
}

func TestErrorsWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 3)
		a.listener.refuse.Store(true)
		r := a.poll(t, a.client(), targets...)[0]
		if r.Failure == nil || r.Failure.Reason != poller.Connection || r.Failure.Text != "access token: dial tcp: connection refused" ||
			len(a.listener.dialled()) != 5 {
			t.Errorf("%+v after %d dials", r.Failure, len(a.listener.dialled()))
		}
		a.listener.refuse.Store(false)
		time.Sleep(time.Second)
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
		r = a.poll(t, a.client(), targets...)[0]
		if r.Failure == nil || r.Failure.Reason != poller.Timeout || r.Failure.Text != "page 1: no complete response within 10s" {
			t.Errorf("%+v", r.Failure)
		}
		if events := a.events.soFar(); events.requests["token error"] != 5 || events.requests["list error"] != 5 || events.retries != 8 {
			t.Errorf("requests %v, %d retries", events.requests, events.retries)
		}
	})
}

func TestFailuresKeepWhatCausedThem(t *testing.T) {
	cause := errors.New("x")
	f := fail(poller.Malformed, "what: %w", cause)
	if !errors.Is(f, cause) || poller.ReasonOf(f) != poller.Malformed || poller.ReasonOf(fmt.Errorf("wrapped: %w", f)) != poller.Malformed {
		t.Errorf("%v carries %v", f, poller.ReasonOf(f))
	}
	for _, tt := range []struct {
		err  error
		want poller.Reason
	}{
		{fmt.Errorf("x: %w", context.DeadlineExceeded), poller.Timeout},
		{&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, poller.Timeout},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, poller.Connection},
		{&net.DNSError{Err: "no such host", Name: "api.test", IsNotFound: true}, poller.Connection},
		{&net.DNSError{Err: "i/o timeout", Name: "api.test", IsTimeout: true}, poller.Timeout},
		{io.ErrUnexpectedEOF, poller.Connection},
	} {
		if f := noResponse(tt.err, 10*time.Second, "page 1", poller.Scrubber{}); poller.ReasonOf(f) != tt.want || !f.retry || f.status != 0 {
			t.Errorf("%v: %s, want %s", tt.err, poller.ReasonOf(f), tt.want)
		}
	}
}

func TestCleanTexts(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"  plain  ", "plain"},
		{"two\nlines\r\n\tand \x1b[31mred\x00", "two lines   and  [31mred"},
		{"\xff\xfe", "\ufffd\ufffd"},
		{"rtl \u202e zero\u200bwidth", "rtl   zero width"},
		{strings.Repeat("日", maxText), strings.Repeat("日", maxText)},
		{strings.Repeat("日", maxText+1), strings.Repeat("日", maxText) + "…"},
	} {
		if got := (poller.Scrubber{}).Clean(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
	hide := poller.Scrubber{}.Hide("a b/c", "[x]").Hide("", "never").Hide("same", "same")
	if got := hide.Clean("a b/c a+b%2Fc a%20b%2Fc same"); got != "[x] [x] [x] same" {
		t.Errorf("%q", got)
	}
	if !reflect.DeepEqual(poller.Scrubber{}.Hide("same", "same"), poller.Scrubber{}) {
		t.Error("nothing is to be hidden of what is shown")
	}
}

// A continuing failure has the same text, independent of request ids and ports.
func TestAFailureThatGoesOnIsTheSame(t *testing.T) {
	reset := func(port int) error {
		return noResponse(&net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port},
			Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 443}, Err: syscall.ECONNRESET,
		}, 10*time.Second, "page 1", poller.Scrubber{})
	}
	if got := reset(50001).Error(); got != "page 1: read tcp 10.0.0.2:443: connection reset by peer" || got != reset(50002).Error() {
		t.Error(got)
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		p := a.poller(a.client(retries(0)), 1, a.fill(1, 1)...)
		failed := func(message string) *poller.Failure {
			defer a.Inject(simulator.Fault{
				Operation: simulator.List, Kind: simulator.Status, Status: 403, Body: `{"error":"forbidden","message":"` + message + `"}`,
			})()
			p.Once(t.Context())
			return p.Snapshot().Readings[0].Failure
		}
		first, second, other := failed("no grant"), failed("no grant"), failed("no such user")
		if first == nil || second == nil || first.Text == second.Text || !first.Same(second) || first.Same(other) || first.Same(nil) {
			t.Errorf("%+v, %+v, %+v", first, second, other)
		}
		named := poller.WithRequestID("request 1F2E failed", "1F2E")
		if f := (&poller.Failure{Text: named}); !f.Same(&poller.Failure{Text: strings.ReplaceAll(named, "1F2E", "3D4C")}) {
			t.Error("the id in the message counts")
		}
	})
}
