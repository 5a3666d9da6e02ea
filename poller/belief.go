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

// Lists has the content of the lists in which targets are found. It is immutable.
type Lists struct {
	Providers    Belief
	Applications Belief            `json:",omitzero"`
	Former       map[string]Listed `json:",omitzero"` // applications that were removed from their list, for their names
}

// Of returns the content of a list.
func (l *Lists) Of(list List) Belief { return []Belief{l.Providers, l.Applications}[list] }

// With returns l with another content of a list.
func (l Lists) With(list List, b Belief) *Lists {
	*[]*Belief{&l.Providers, &l.Applications}[list] = b
	return &l
}

// Listed is an item of a list: a credential provider or an application, which is a consumer.
type Listed struct {
	Identifier string // of a provider; the id of an application
	Type       string // one of ProviderTypes or ApplicationTypes; empty: unknown
	Name       string `json:",omitzero"` // of an application
	Created    int64  `json:",omitzero"` // of an application, in Unix milliseconds
	Problem    string `json:",omitzero"` // why it is not watched; empty: it is
}

// Resolved has the targets of the settings with certain lists.
type Resolved struct {
	Targets   []Target    // of this process, each once
	Hidden    []Target    // not watched, because another consumer has the same label
	Unwatched []Unwatched // nil: unknown
}

// Unwatched is an application that no entry of the settings matches. With hashed labels, its id and its name are empty.
type Unwatched struct {
	Label string
	Listed
}

// ProviderTypes and ApplicationTypes are the known types of credential providers and applications.
var (
	ProviderTypes    = []string{"jwt", "oauth"}
	ApplicationTypes = []string{"application", "agent"}
)

// Belief is the content of a list that is read repeatedly and may lack items by mistake. It is immutable; methods return a new one.
type Belief struct {
	Known   map[string]Listed // by id
	Missing []string          `json:",omitzero"` // ids of Known, sorted, that only the latest list lacked
	Doubted map[string]Listed `json:",omitzero"` // the latest list if it is treated as failed, else nil
	Since   time.Time         `json:",omitzero"` // time of the first consecutive doubted list that lacks the same
}

// Doubted is the Reason of a list that is treated as failed because it lacks too much. It is in no metric.
const Doubted Reason = "doubted"

// doubtedFor is the time for which all lists must lack the same before one with fewer than half of the known ids is used.
const doubtedFor = 24 * time.Hour

// Read returns the belief after a complete list at now. It removes items that two consecutive lists lack. A list that lacks more than
// half of the known ids is treated as failed: the error has the Reason Doubted and the time until which.
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
			return b, &Error{Doubted, fmt.Errorf("the list has %d and lacks %d of the %d known; it is used after a reload "+
				"(SIGHUP, POST /-/reload)%s", len(list), len(lacking), len(b.Known), or)}
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

// Confirmed returns the belief after an operator confirmed the doubted list, if there is one.
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
