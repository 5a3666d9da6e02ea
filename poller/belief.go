package poller

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Lists is what is known of the lists in which targets are found. It never changes; readers share it.
type Lists struct{ Providers Belief[Provider] }

// Belief is what is known of a list that is read repeatedly and may lack items by mistake. It never changes: methods return
// another one.
type Belief[T any] struct {
	Known   map[string]T // by id
	Missing []string     `json:",omitzero"` // those of Known, sorted, that the latest list lacked for the first time
	Doubted map[string]T `json:",omitzero"` // the latest list if it counts as failed, else nil
	Since   time.Time    `json:",omitzero"` // when the first of the consecutive doubted lists was read that lack the same
}

// Doubted is the Reason of a list that was read but counts as failed. No metric has it.
const Doubted Reason = "doubted"

// doubtedFor is how long all lists must lack the same before a list with fewer than half of the known ids is believed.
const doubtedFor = 24 * time.Hour

// Read returns the belief after a list was read completely at now. What lists lack twice in a row is no longer known. A list
// without most of the known ids counts as failed: the error, of Reason Doubted, says until when.
func (b Belief[T]) Read(list map[string]T, now time.Time) (Belief[T], error) {
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
	after := Belief[T]{Known: maps.Clone(list)}
	for _, id := range lacking {
		if _, twice := slices.BinarySearch(b.Missing, id); !twice {
			after.Known[id], after.Missing = b.Known[id], append(after.Missing, id)
		}
	}
	return after, nil
}

// lacking returns the known ids that list lacks, sorted.
func (b Belief[T]) lacking(list map[string]T) (ids []string) {
	for id := range b.Known {
		if _, ok := list[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Confirmed returns the belief in the list that is doubted, if one is: an operator has decided so.
func (b Belief[T]) Confirmed() Belief[T] {
	if b.Doubted == nil {
		return b
	}
	return Belief[T]{Known: b.Doubted}
}

// Items returns the known items in the order of their ids.
func (b Belief[T]) Items() []T {
	items := make([]T, 0, len(b.Known))
	for _, id := range slices.Sorted(maps.Keys(b.Known)) {
		items = append(items, b.Known[id])
	}
	return items
}
