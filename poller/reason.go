package poller

import "errors"

// Reason is why a walk failed. There are few, so it is a label value.
type Reason string

// Every Reason. Deadline is the timeout of a poll, Timeout that of a request. AccessToken is a refusal of the token endpoint or an
// unreadable credential file; outages of the token endpoint are Timeout, Connection, ServerError or Throttled.
const (
	Unauthorized Reason = "unauthorized"
	Forbidden    Reason = "forbidden"
	NotFound     Reason = "not_found"
	Throttled    Reason = "throttled"
	ServerError  Reason = "server_error"
	ClientError  Reason = "client_error"
	Timeout      Reason = "timeout"
	Deadline     Reason = "deadline"
	Connection   Reason = "connection"
	Malformed    Reason = "malformed"
	Loop         Reason = "loop"
	AccessToken  Reason = "access_token"
)

// Reasons returns every Reason, in a fixed order.
func Reasons() []Reason {
	return []Reason{
		Unauthorized, Forbidden, NotFound, Throttled, ServerError, ClientError,
		Timeout, Deadline, Connection, Malformed, Loop, AccessToken,
	}
}

// Error is an error with its Reason. Its text is one line, without secrets and hidden consumer ids.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its reason.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the Reason of err, or Connection if it has none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Connection
}
