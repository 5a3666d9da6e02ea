package idaas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// failure is a failed request: a poller.Error with what a retry needs to know.
type failure struct {
	cause     *poller.Error
	status    int           // 0: no answer
	retry     bool          // worth sending again
	throttled bool          // the answer said "slow down"
	hint      time.Duration // for how long; 0: it did not say
	foreign   bool          // no answer, or not in the API's own words: it may have moved
	free      bool          // sent again without using up a retry
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

func fail(reason poller.Reason, format string, args ...any) *failure {
	return &failure{cause: &poller.Error{Reason: reason, Err: fmt.Errorf(format, args...)}}
}

// noAnswer is the failure of a request that got no whole answer.
func noAnswer(err error, what string, hide poller.Scrubber) *failure {
	var f *failure
	if e, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout() {
		f = fail(poller.Timeout, "%s: no whole answer in time", what)
	} else {
		f = fail(poller.Connection, "%s: %s", what, hide.Clean(localAddress.ReplaceAllString(err.Error(), "")))
	}
	f.retry, f.foreign = true, true
	return f
}

// localAddress is in the errors of connections, with another port each time.
var localAddress = regexp.MustCompile(`\S+:\d+->`)

// refused is the failure that an answer other than 200 means, or an error object under 200.
func refused(status int, header http.Header, body apiError, what string, hide poller.Scrubber) *failure {
	reason := cmp.Or(reasons[status], reasons[status/100], poller.Malformed) // only 200 is a success
	throttled := body.throttling() || status == http.StatusTooManyRequests || header.Get(retryAfterHeader) != "" ||
		status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
	switch {
	case throttled:
		reason = poller.Throttled
	case refusedKey.MatchString(body.code):
		reason = poller.AccessToken
	case reason == poller.ClientError && status/100 == 4 && notFound.MatchString(body.code):
		reason = poller.NotFound
	}
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	if said := hide.Clean(body.String()); said != "" {
		text += ": " + said
	}
	if id := hide.Clean(cmp.Or(header.Get(requestIDHeader), body.requestID)); id != "" {
		text = poller.WithRequestID(text, id)
	}
	f := fail(reason, "%s: %s", what, text)
	f.status, f.throttled, f.foreign = status, throttled, body.code == "" && !throttled
	f.retry = throttled || status/100 == 5 || status == http.StatusRequestTimeout || status == http.StatusTooEarly
	if throttled {
		f.hint = hint(header, time.Now())
	}
	return f
}

// reasons is by status or, where it has no reason of its own, by its first digit.
var reasons = map[int]poller.Reason{
	401: poller.Unauthorized, 403: poller.Forbidden, 404: poller.NotFound,
	3: poller.ClientError, 4: poller.ClientError, 5: poller.ServerError,
}

// apiError is what an error body says, in any of the shapes seen in the vendor's clients.
type apiError struct{ code, message, requestID string }

// maxErrorBody bounds what is parsed in search of an error.
const maxErrorBody = 64 << 10

// parseError never fails: a body of no known shape says nothing.
func parseError(body []byte) apiError {
	// Not map[string]any: what is nested deep would cost a lot, and is not looked at.
	var m map[string]jsontext.Value
	lax := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if len(body) > maxErrorBody || json.Unmarshal(body, &m, lax) != nil {
		return apiError{}
	}
	first := func(names ...string) string {
		for _, name := range names {
			var s string
			if json.Unmarshal(m[name], &s, lax) == nil && s != "" {
				return s
			}
		}
		return ""
	}
	return apiError{
		code:      first("error", "code", "Code"),
		message:   first("error_description", "message", "Message"),
		requestID: first("request_id", "requestId", "RequestId"),
	}
}

func (e apiError) String() string { return strings.Trim(e.code+": "+e.message, ": ") }

// throttling reports whether the gateway's codes for that are in the code or, beside one of its own, in the message only.
func (e apiError) throttling() bool {
	return throttlingCode.MatchString(e.code) || throttlingCode.MatchString(e.message)
}

var throttlingCode = regexp.MustCompile(`\bThrottling\b`)

// refusedKey is how the codes begin of a gateway that does not take RAM credentials, or what is signed with them.
var refusedKey = regexp.MustCompile(`^(InvalidAccessKeyId|SignatureDoesNotMatch|IncompleteSignature|InvalidSecurityToken|InvalidTimeStamp)\b`)

// notFound is how codes that mean it end.
var notFound = regexp.MustCompile(`(_not_found|NotFound)$`)

// Headers of the gateway.
const (
	requestIDHeader  = "X-Acs-Request-Id"
	retryAfterHeader = "X-Acs-Retry-After" // milliseconds; the vendor's runtimes of 2026-07 take it for throttling under any status
)

var rateLimitHeaders = []string{"X-Ratelimit-User-Api", "X-Ratelimit-User"}

// hint reads how long an answer asks to wait: Retry-After in both forms, and what the vendor's runtimes read: their own
// header, and TimeLeft (milliseconds) of the rate limits. The longest counts.
func hint(header http.Header, now time.Time) time.Duration {
	var longest time.Duration
	after := header.Get("Retry-After")
	if d, ok := count(after, time.Second); ok {
		longest = d
	} else if at, err := http.ParseTime(after); err == nil {
		// By the server's own clock, when it tells it.
		if date, ok := serverTime(header); ok {
			now = date
		}
		longest = at.Sub(now)
	}
	if d, ok := count(header.Get(retryAfterHeader), time.Millisecond); ok {
		longest = max(longest, d)
	}
	for _, name := range rateLimitHeaders {
		for pair := range strings.SplitSeq(header.Get(name), ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(pair), ":")
			if d, ok := count(value, time.Millisecond); ok && strings.EqualFold(key, "TimeLeft") {
				longest = max(longest, d)
			}
		}
	}
	return max(0, longest)
}

// count reads a whole number of units. One too large to be read is very large: no reason to take it for nothing.
func count(text string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	return time.Duration(n) * unit, err == nil || errors.Is(err, strconv.ErrRange)
}

// hidden returns a scrubber of secrets.
func hidden(secrets []string) (s poller.Scrubber) {
	for _, secret := range secrets {
		s = s.Hide(secret, "[secret]")
	}
	return s
}
