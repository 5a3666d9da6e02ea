package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// FaultKind is what a Fault does. Its String is the constant's name.
type FaultKind int

// Kinds of faults. Those from WrongType on change a right answer, and leave an answer that is an error as it is;
// those from MissingID on are about pages of the list call only, and the last two about lists of the management API only.
const (
	Slow               FaultKind = iota // the right answer, after Delay
	Status                              // Status (500) with an error body
	Throttle                            // Status (429) with Code Throttling.User, and the hints given
	ErrorUnder200                       // an error body under 200
	Reset                               // the connection breaks before the first byte; an http.Transport silently repeats a GET on a connection it used before
	Hang                                // no answer until the request's context or the Server ends
	Redirect                            // Status (302) to Body (a login page)
	Garbage                             // 200 with bytes that are no JSON
	HTML                                // 200 with a login page
	EmptyObject                         // 200 with {}
	Null                                // 200 with null
	SwitchProtocols                     // 101, and the connection stays open until the request's context or the Server ends
	HugeBody                            // 200 with valid JSON of Size bytes (64 MiB)
	SlowDrip                            // the right answer, a byte each Delay (10 ms)
	WrongType                           // Field is Body ({}) in every object that has it
	MissingField                        // Field is left out
	DuplicateNames                      // Field is there twice
	InvalidUTF8                         // Field is a string that is not UTF-8
	DeepNesting                         // an unknown member holds Size (100,000) nested arrays
	UnknownFields                       // every object has members never heard of
	TrailingText                        // text after the object
	TruncatedJSON                       // the first half of the JSON as if it were all
	CutBody                             // the connection breaks in the middle of the body
	MissingID                           // the tokens have no id
	MissingTotal                        // totalCount is left out
	NegativeExpiration                  // expirationTime is -1 wherever there is one
	EmptyPage                           // no tokens, and a nextToken that leads to them
	ShortPage                           // half of the tokens, and a nextToken that leads to the others
	Duplicates                          // the last token is on the next page too, or on the last page the first one twice
	Loop                                // nextToken leads Size (1) pages back from the next, 1 being this page again
	EmptyList                           // no items, and a TotalCount of 0
	HalfList                            // the first half of the items, and their number as TotalCount
)

var kindNames = [...]string{
	"Slow", "Status", "Throttle", "ErrorUnder200", "Reset", "Hang", "Redirect", "Garbage", "HTML", "EmptyObject", "Null", "SwitchProtocols", "HugeBody", "SlowDrip",
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

// Fault says which requests are answered wrongly, and how. Its zero fields match everything and take the kind's defaults.
type Fault struct {
	Operation string // List, Access, Discovery, Providers, Applications
	Consumer  string
	Provider  string
	Page      int                      // of the walk, from 1; -1: the last
	Times     int                      // how many requests; 0: until it is removed
	When      func(now time.Time) bool // called while the Server is locked
	Then      func()                   // called after the answer, with the Server unlocked

	Kind        FaultKind
	Status      int
	Shape       Shape         // of the error body
	Code        string        // in the error body
	Body        string        // instead of the error body; see the kinds
	RetryAfter  string        // the header of this name
	AcsAfter    time.Duration // in the header x-acs-retry-after
	TimeLeft    time.Duration // in the header x-ratelimit-user
	TimeLeftAPI time.Duration // in the header x-ratelimit-user-api
	Delay       time.Duration // before the answer
	Size        int64         // see the kinds
	Field       string        // name of a JSON member; by default the id, the access token, …
}

type injected struct {
	Fault
	left int // requests; not counted when Times is 0
}

// Inject switches a fault on until it was used up or remove is called. A request meets the first injected of the faults that match it, and only that.
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

// pick returns the fault that a request meets, and uses it up.
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
