package poller

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// List is one of the lists in which targets are found.
type List int

// The lists of the management API.
const (
	Providers    List = iota // credential providers
	Applications             // enabled M2M applications: consumers
)

// Lists is what is known of the lists in which targets are found. It never changes; readers share it.
type Lists struct {
	Providers    Belief
	Applications Belief            `json:",omitzero"`
	Former       map[string]Listed `json:",omitzero"` // applications that are no longer in their list, for their names
}

// Of returns the belief in a list.
func (l *Lists) Of(list List) Belief {
	if list == Applications {
		return l.Applications
	}
	return l.Providers
}

// With returns l with another belief in a list.
func (l Lists) With(list List, b Belief) *Lists {
	if list == Applications {
		l.Applications = b
	} else {
		l.Providers = b
	}
	return &l
}

// Listed is an item of a list: a credential provider or an application, which is a consumer.
type Listed struct {
	Identifier string // of a provider; the id of an application
	Type       string // jwt or oauth; application or agent; empty: unknown
	Name       string `json:",omitzero"` // of an application
	Created    int64  `json:",omitzero"` // of an application, in Unix milliseconds
	Problem    string `json:",omitzero"` // why it cannot be watched, which is logged; empty: it can be
}

// Resolved is what entries of targets mean with certain lists.
type Resolved struct {
	Targets   []Target    // of this process, each once
	Hidden    []Target    // left out, because another consumer is shown as theirs
	Unwatched []Unwatched // nil: no list is known
}

// Unwatched is an application that no entry of the targets takes. With hashed labels, its id and its name are empty.
type Unwatched struct {
	Label string
	Listed
}

// ProviderTypes and ApplicationTypes are the known types of credential providers and applications.
var (
	ProviderTypes    = []string{"jwt", "oauth"}
	ApplicationTypes = []string{"application", "agent"}
)

// Belief is what is known of a list that is read repeatedly and may lack items by mistake. It never changes: methods return
// another one.
type Belief struct {
	Known   map[string]Listed // by id
	Missing []string          `json:",omitzero"` // those of Known, sorted, that the latest list lacked for the first time
	Doubted map[string]Listed `json:",omitzero"` // the latest list if it counts as failed, else nil
	Since   time.Time         `json:",omitzero"` // when the first of the consecutive doubted lists was read that lack the same
}

// Doubted is the Reason of a list that was read but counts as failed. No metric has it.
const Doubted Reason = "doubted"

// doubtedFor is how long all lists must lack the same before a list with fewer than half of the known ids is believed.
const doubtedFor = 24 * time.Hour

// Read returns the belief after a list was read completely at now. What lists lack twice in a row is no longer known. A list
// without most of the known ids counts as failed: the error, of Reason Doubted, says until when.
func (b Belief) Read(list map[string]Listed, now time.Time) (Belief, error) {
	lacking := b.lacking(list)
	if 2*len(lacking) > len(b.Known) {
		if b.Doubted == nil || (len(list) == 0) != (len(b.Doubted) == 0) || !slices.Equal(lacking, b.lacking(b.Doubted)) {
			b.Since = now
		}
		b.Doubted, b.Missing = list, nil
		until, or := b.Since.Add(doubtedFor), ""
		if len(list) > 0 {
			or = ", or if all lists until " + until.UTC().Format(time.RFC3339) + " lack the same"
		}
		if or == "" || now.Before(until) {
			return b, &Error{Doubted, fmt.Errorf("the list has %d and lacks %d of the %d known; it is used after a reload (SIGHUP, POST /-/reload)%s",
				len(list), len(lacking), len(b.Known), or)}
		}
		return b.Confirmed(), nil
	}
	after := Belief{Known: maps.Clone(list)}
	for _, id := range lacking {
		if _, twice := slices.BinarySearch(b.Missing, id); !twice {
			after.Known[id], after.Missing = b.Known[id], append(after.Missing, id)
		}
	}
	return after, nil
}

// lacking returns the known ids that list lacks, sorted.
func (b Belief) lacking(list map[string]Listed) (ids []string) {
	for id := range b.Known {
		if _, ok := list[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Confirmed returns the belief in the list that is doubted, if one is: an operator has decided so.
func (b Belief) Confirmed() Belief {
	if b.Doubted == nil {
		return b
	}
	return Belief{Known: b.Doubted}
}

// Items returns the known items in the order of their ids.
func (b Belief) Items() []Listed {
	items := make([]Listed, 0, len(b.Known))
	for _, id := range slices.Sorted(maps.Keys(b.Known)) {
		items = append(items, b.Known[id])
	}
	return items
}
