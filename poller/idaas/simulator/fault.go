package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// FaultKind is the kind of a Fault.
type FaultKind int

// Kinds of faults. Those from WrongType on change successful responses only, those from MissingID on pages of the list call only, and the
// last two lists of the management API only.
const (
	Slow               FaultKind = iota // the correct response, after Delay
	Status                              // Status (500) with an error body
	Throttle                            // Status (429) with Code Throttling.User, and the retry-after headers set
	ErrorUnder200                       // an error body with status 200
	Reset                               // closes the connection; an http.Transport repeats a GET if the connection was reused
	Hang                                // no response until the request's context or the Server ends
	Redirect                            // Status (302) to Body (a login page)
	Garbage                             // 200 with bytes that are not JSON
	HTML                                // 200 with a login page
	EmptyObject                         // 200 with {}
	Null                                // 200 with null
	SwitchProtocols                     // 101, and the connection stays open until the request's context or the Server ends
	HugeBody                            // 200 with valid JSON of Size bytes (64 MiB)
	SlowDrip                            // the correct response, one byte per Delay (10 ms)
	WrongType                           // Field is Body ({}) in every object that has it
	MissingField                        // Field is absent
	DuplicateNames                      // Field is there twice
	InvalidUTF8                         // Field is a string that is not UTF-8
	DeepNesting                         // an unknown member holds Size (100,000) nested arrays
	UnknownFields                       // every object has unknown members
	TrailingText                        // text after the object
	TruncatedJSON                       // the first half of the JSON, with its Content-Length
	CutBody                             // the connection breaks in the middle of the body
	MissingID                           // tokens have no id
	MissingTotal                        // totalCount is absent
	NegativeExpiration                  // every expirationTime is -1
	EmptyPage                           // no tokens, and a nextToken for them
	ShortPage                           // half of the tokens, and a nextToken for the others
	Duplicates                          // the last token is also on the next page; the last page has its first token twice
	Loop                                // nextToken is for the page Size (1) before the next one: 1 is this page
	EmptyList                           // no items, and a TotalCount of 0
	HalfList                            // the first half of the items, and their number as TotalCount
)

var kindNames = [...]string{
	"Slow", "Status", "Throttle", "ErrorUnder200", "Reset", "Hang", "Redirect", "Garbage", "HTML", "EmptyObject", "Null",
	"SwitchProtocols", "HugeBody", "SlowDrip",
	"WrongType", "MissingField", "DuplicateNames", "InvalidUTF8", "DeepNesting", "UnknownFields", "TrailingText", "TruncatedJSON", "CutBody",
	"MissingID", "MissingTotal", "NegativeExpiration", "EmptyPage", "ShortPage", "Duplicates", "Loop",
	"EmptyList", "HalfList",
}

// String returns the name of the constant.
func (k FaultKind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("FaultKind(%d)", int(k))
	}
	return kindNames[k]
}

// AllFaults returns every kind.
func AllFaults() []FaultKind {
	kinds := make([]FaultKind, len(kindNames))
	for i := range kinds {
		kinds[i] = FaultKind(i)
	}
	return kinds
}

// Fault changes the responses to matching requests. Zero fields match all requests, or have the defaults of the kind.
type Fault struct {
	Operation string // List, Access, Discovery, Providers, Applications
	Consumer  string
	Provider  string
	Page      int                      // of the walk, from 1; -1: the last
	Times     int                      // number of requests; 0: until it is removed
	When      func(now time.Time) bool // called while the Server is locked
	Then      func()                   // called after the response, with the Server unlocked

	Kind        FaultKind
	Status      int
	Shape       Shape         // of the error body
	Code        string        // in the error body
	Body        string        // instead of the error body; see the kinds
	RetryAfter  string        // the header of this name
	AcsAfter    time.Duration // in the header x-acs-retry-after
	TimeLeft    time.Duration // in the header x-ratelimit-user
	TimeLeftAPI time.Duration // in the header x-ratelimit-user-api
	Delay       time.Duration // before the response
	Size        int64         // see the kinds
	Field       string        // name of a JSON member; by default the id, the access token, …
}

type injected struct {
	Fault
	left int // requests; not counted when Times is 0
}

// Inject adds a fault until it has changed f.Times responses or remove is called. The first matching fault changes a response.
func (s *Server) Inject(f Fault) (remove func()) {
	in := &injected{f, f.Times}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, in)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(in)
	}
}

func (s *Server) drop(in *injected) {
	s.faults = slices.DeleteFunc(s.faults, func(other *injected) bool { return other == in })
}

// pick returns the first fault that matches a request, and counts it.
func (s *Server) pick(r Request, a answer, now time.Time) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.faults {
		if !in.matches(r, a, now) {
			continue
		}
		if in.left--; in.left == 0 {
			s.drop(in)
		}
		return in.Fault, true
	}
	return Fault{}, false
}

func (f *Fault) matches(r Request, a answer, now time.Time) bool {
	last := a.page != nil && !a.page.more
	switch {
	case f.Operation != "" && f.Operation != r.Operation,
		f.Consumer != "" && f.Consumer != r.Consumer,
		f.Provider != "" && f.Provider != r.Provider,
		f.Page > 0 && f.Page != r.Page,
		f.Page < 0 && !last,
		f.Kind >= WrongType && a.status != http.StatusOK,
		f.Kind >= MissingID && f.Kind <= Loop && a.page == nil,
		f.Kind >= EmptyList && a.listing == nil:
		return false
	}
	return f.When == nil || f.When(now)
}
