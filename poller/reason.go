package poller

import "errors"

// Reason is why a walk failed: a bounded set, fit for a label.
type Reason string

// Every Reason. Deadline is the poll timeout, Timeout that of one request; AccessToken means that the token endpoint
// refused or a credential file cannot be read, while that endpoint's outages are Timeout, Connection, ServerError or
// Throttled.
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

// Error is an error with its Reason. Its text holds no secret, no raw consumer id, and one line at most.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its reason.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the Reason that err carries, and Connection for an error that carries none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Connection
}
