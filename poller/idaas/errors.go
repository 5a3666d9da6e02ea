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
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// failure is a failed request: a poller.Error with the facts for retries.
type failure struct {
	cause      *poller.Error
	status     int           // 0: no response
	retry      bool          // a retry may succeed
	throttled  bool          // by the API
	retryAfter time.Duration // the pause requested by the API; 0: none
	moved      bool          // no response, or none in a format of the API: the endpoint may have changed
	notCounted bool          // the next attempt is not a retry
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

func fail(reason poller.Reason, format string, args ...any) *failure {
	return &failure{cause: &poller.Error{Reason: reason, Err: fmt.Errorf(format, args...)}}
}

// failBecause is fail for a request that could not be built, which is retried if err is a transient error.
func failBecause(reason poller.Reason, format string, err error) *failure {
	f := fail(reason, format, err)
	f.retry = disk.Transient(err)
	if cause, ok := errors.AsType[*failure](err); ok {
		f.retry, f.retryAfter = cause.retry, cause.retryAfter
	}
	return f
}

// noResponse is the failure of a request without a complete response.
func noResponse(err error, timeout time.Duration, what string, hide poller.Scrubber) *failure {
	var f *failure
	if e, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && e.Timeout() {
		f = fail(poller.Timeout, "%s: no complete response within %v", what, timeout)
	} else {
		f = fail(poller.Connection, "%s: %s", what, hide.Clean(localAddress.ReplaceAllString(err.Error(), "")))
	}
	f.retry, f.moved = true, true
	return f
}

// localAddress is the part of connection errors with a different port each time.
var localAddress = regexp.MustCompile(`\S+:\d+->`)

// refused is the failure of a call whose response has a status other than 200, or an error object.
func (c *call) refused(status int, body apiError) *failure {
	header := c.header
	reason := cmp.Or(reasons[status], reasons[status/100], poller.Malformed) // only 200 is a success
	throttled := body.throttling() || status == http.StatusTooManyRequests || header.Get(retryAfterHeader) != "" ||
		status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
	switch {
	case throttled:
		reason = poller.Throttled
	case refusedKey.MatchString(body.code), c.operation == OpToken && (status/100 == 3 || status/100 == 4):
		reason = poller.AccessToken
	case reason == poller.ClientError && status/100 == 4 && notFound.MatchString(body.code):
		reason = poller.NotFound
	}
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	if message := c.hide.Clean(body.String()); message != "" {
		text += ": " + message
	}
	if id := c.hide.Clean(cmp.Or(header.Get(requestIDHeader), body.requestID)); id != "" {
		text = poller.WithRequestID(text, id)
	}
	f := fail(reason, "%s: %s", c.what, text)
	f.status, f.throttled, f.moved = status, throttled, body.code == "" && !throttled
	f.retry = throttled || status/100 == 5 || status == http.StatusRequestTimeout || status == http.StatusTooEarly
	if throttled {
		f.retryAfter = retryAfter(header, time.Now())
	}
	return f
}

// reasons are by status, or by its first digit.
var reasons = map[int]poller.Reason{
	401: poller.Unauthorized, 403: poller.Forbidden, 404: poller.NotFound,
	3: poller.ClientError, 4: poller.ClientError, 5: poller.ServerError,
}

// apiError is an error body, in any of the formats that the vendor's clients parse.
type apiError struct{ code, message, requestID string }

// maxErrorBody bounds the bodies that are parsed for an error.
const maxErrorBody = 64 << 10

// parseError returns an empty error for a body of an unknown format.
func parseError(body []byte) apiError {
	// Not map[string]any: deeply nested values would be expensive, and are not used.
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

// throttling reports whether the gateway's codes for that are in the code or, for an error of the API, in the message.
func (e apiError) throttling() bool {
	return throttlingCode.MatchString(e.code) || throttlingCode.MatchString(e.message)
}

var (
	throttlingCode = regexp.MustCompile(`\bThrottling\b`)
	// refusedKey matches the codes of a gateway that refuses RAM credentials or signatures.
	refusedKey = regexp.MustCompile(`^(InvalidAccessKeyId|SignatureDoesNotMatch|IncompleteSignature|InvalidSecurityToken|InvalidTimeStamp)\b`)
	notFound   = regexp.MustCompile(`(_not_found|NotFound)$`)
	// rateLimitHeaders of the gateway have a TimeLeft in milliseconds.
	rateLimitHeaders = []string{"X-Ratelimit-User-Api", "X-Ratelimit-User"}
)

// Headers of the gateway.
const (
	requestIDHeader  = "X-Acs-Request-Id"
	retryAfterHeader = "X-Acs-Retry-After" // milliseconds; the vendor's runtimes of 2026-07 treat any status with it as throttling
)

// serverTime returns the Date of a response, unless it comes from a cache.
func serverTime(header http.Header) (time.Time, bool) {
	date, err := http.ParseTime(header.Get("Date"))
	return date, err == nil && strings.Trim(strings.Join(header["Age"], ""), "0") == ""
}

// retryAfter returns the longest pause that a response requests: in Retry-After, in both forms, or in a header of the gateway.
func retryAfter(header http.Header, now time.Time) (longest time.Duration) {
	add := func(text string, unit time.Duration) bool {
		// A number out of range is very large, not invalid.
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
		ok := err == nil || errors.Is(err, strconv.ErrRange)
		if ok {
			longest = max(longest, time.Duration(n)*unit)
		}
		return ok
	}
	after := header.Get("Retry-After")
	if at, err := http.ParseTime(after); !add(after, time.Second) && err == nil {
		if date, ok := serverTime(header); ok {
			now = date
		}
		longest = max(0, at.Sub(now))
	}
	add(header.Get(retryAfterHeader), time.Millisecond)
	for _, name := range rateLimitHeaders {
		for pair := range strings.SplitSeq(header.Get(name), ",") {
			if key, value, _ := strings.Cut(strings.TrimSpace(pair), ":"); strings.EqualFold(key, "TimeLeft") {
				add(value, time.Millisecond)
			}
		}
	}
	return longest
}

// hidden returns a scrubber of secrets.
func hidden(secrets []string) (s poller.Scrubber) {
	for _, secret := range secrets {
		s = s.Hide(secret, "[secret]")
	}
	return s
}
