package page

import (
	"fmt"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// symbols stand beside the names of states: colour is not the only sign.
var symbols = map[poller.State]string{
	poller.Lost: "✕", poller.AboutToEnd: "▲", poller.Overdue: "!", poller.NotRenewed: "▲", poller.AtRisk: "▲", poller.Unknown: "?",
	poller.Paused: "‖", poller.Empty: "○", poller.Retired: "○", poller.OK: "●",
}

// reasons are why a target is in a state.
var reasons = map[poller.State]string{
	poller.Lost:       "No token is active, as a complete walk confirms, and this consumer usually has one at all times, or has a lost_after.",
	poller.AboutToEnd: "This consumer usually has a token at all times. Its last token expires soon and is not renewed.",
	poller.Overdue:    "No token is active, and the latest complete walk is later than the time by which one was expected.",
	poller.NotRenewed: "A token is active, but it is not renewed, and this consumer usually renews it earlier.",
	poller.AtRisk:     "The last token expires soon. It is unknown how early this consumer renews its tokens.",
	poller.Unknown:    "No complete walk of this target has succeeded.",
	poller.Paused:     "No token is active, and the next one is not overdue.",
	poller.Empty:      "The walk found no token, and no earlier one is known.",
	poller.Retired:    "No token was active for 35 days and for twice the usual pause. Remove this target if it is no longer used.",
	poller.OK:         "A token is active, and no renewal is overdue.",
}

// Detail is by when a token or renewal is expected, or since when a token is missing; empty: neither.
func (r *row) Detail() string {
	clock := func(ms int64) string { return moment{instant(ms), r.now}.Clock() }
	expected := func(what string, ms int64) string {
		if ms < r.now.UnixMilli() {
			return what + " was expected by " + clock(ms)
		}
		return what + " expected by " + clock(ms)
	}
	s := r.Status
	switch {
	case r.Census == nil && r.Failure != nil:
		return "cannot be read: " + string(r.Failure.Reason)
	case r.Census == nil:
		return "not read yet"
	case s.State == poller.Overdue:
		return "overdue since " + clock(s.Since)
	case s.State == poller.Retired && r.LastActive > 0:
		return "no token since " + clock(r.LastActive)
	case s.State == poller.Paused && s.NextExpected > 0:
		return expected("next token", s.NextExpected)
	case (s.State == poller.Paused || s.State == poller.Lost) && s.Since > 0:
		return "no token since " + clock(s.Since)
	case s.State == poller.NotRenewed:
		return expected("renewal", s.RenewalExpected)
	case r.Endangered() && r.Latest > 0:
		return "last token expires at " + clock(r.Latest)
	case s.State == poller.OK && s.RenewalExpected > 0 && r.Latest > 0:
		text := expected("next renewal", s.RenewalExpected)
		// Half of the usual reserve is left then.
		if every := r.Census.Lifetime - 2*(r.Latest-s.RenewalExpected); every > 0 {
			text = "renewed every " + duration(time.Duration(every)*time.Millisecond) + ", " + text
		}
		return text
	}
	return ""
}

// Sentence is the state with its detail.
func (r *row) Sentence() string {
	switch detail := r.Detail(); {
	case detail == "":
		return sentence(word(r.Status.State))
	case r.Status.State == poller.Overdue || r.Census == nil:
		return sentence(detail)
	default:
		return sentence(word(r.Status.State)) + ", " + detail
	}
}

// Endangered reports whether the target has a token, and may soon have none.
func (r *row) Endangered() bool {
	s := r.Status.State
	return s == poller.AboutToEnd || s == poller.NotRenewed || s == poller.AtRisk
}

// week is a line of the strip: seven UTC days.
type week struct {
	From                   time.Time
	With, Without, Unknown int    // hours with and without an active token
	Active, Paused         string // SVG paths of these hours
}

// Weeks are the last five weeks, to the end of today; nil without a history.
func (r *row) Weeks() []week {
	if !r.Shown || r.Status.HistoryStart == 0 {
		return nil
	}
	weeks, now := make([]week, 5), r.now.Unix()/3600
	for i := range weeks {
		w, from := &weeks[i], now/24*24+24-168*int64(len(weeks)-i)
		w.From = time.Unix(from*3600, 0).UTC()
		for x := int64(0); x < 168 && from+x <= now; x++ {
			switch active, known := r.Census.Hour(from + x); {
			case !known:
				w.Unknown++
			case active:
				w.With++
				w.Active += fmt.Sprintf("M%d 0h1.1v10h-1.1z", x)
			default:
				w.Without++
				w.Paused += fmt.Sprintf("M%d 7h1.1v3h-1.1z", x)
			}
		}
	}
	return weeks
}
