package poller

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// listOf has an item for each word.
func listOf(ids string) map[string]Listed {
	list := map[string]Listed{}
	for _, id := range strings.Fields(ids) {
		list[id] = Listed{Identifier: id}
	}
	return list
}

func TestBelief(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	type step struct {
		after   time.Duration // the step before
		list    string        // ids; "confirm": an operator reloads
		known   string
		missing string
		doubted bool
	}
	for name, steps := range map[string][]step{
		"the first list, even an empty one": {
			{0, "", "", "", false}, {minute, "a", "a", "", false},
		},
		"ids come at once": {
			{0, "a", "a", "", false}, {minute, "b a", "a b", "", false},
		},
		"one goes after two lists": {
			{0, "a b c", "a b c", "", false}, {minute, "a b", "a b c", "c", false}, {minute, "a b", "a b", "", false},
		},
		"one was missing once": {
			{0, "a b c", "a b c", "", false},
			{minute, "a b", "a b c", "c", false},
			{minute, "a b c", "a b c", "", false},
			{minute, "a b", "a b c", "c", false},
			{minute, "a b", "a b", "", false},
		},
		"two are missing in turn": {
			{0, "a b c d", "a b c d", "", false},
			{minute, "a b c", "a b c d", "d", false},
			{minute, "a b d", "a b c d", "c", false},
			{minute, "a b", "a b d", "d", false},
			{minute, "a b", "a b", "", false},
		},
		"half of them": {
			{0, "a b", "a b", "", false}, {minute, "a", "a b", "b", false}, {minute, "a", "a", "", false},
		},
		"less than half, for a day": {
			{0, "a b c", "a b c", "", false},
			{minute, "a d", "a b c", "", true},
			{24*hour - 1, "a", "a b c", "", true},
			{1, "a e", "a e", "", false},
			{minute, "a e", "a e", "", false},
		},
		"less than half, and another less": {
			{0, "a b c", "a b c", "", false},
			{minute, "a", "a b c", "", true},
			{23 * hour, "b", "a b c", "", true},
			{23 * hour, "b", "a b c", "", true},
			{hour, "b", "b", "", false},
		},
		"others only": {
			{0, "a", "a", "", false}, {minute, "b", "a", "", true}, {24 * hour, "b", "b", "", false},
		},
		"less than half, with a good one between": {
			{0, "a b c", "a b c", "", false},
			{minute, "a", "a b c", "", true},
			{23 * hour, "a b c", "a b c", "", false},
			{hour, "a", "a b c", "", true},
		},
		"a doubted list is no first look": {
			{0, "a b c", "a b c", "", false},
			{minute, "a", "a b c", "", true},
			{minute, "a b", "a b c", "c", false},
			{minute, "a b", "a b", "", false},
		},
		"none, for ever": {
			{0, "a b", "a b", "", false},
			{minute, "", "a b", "", true},
			{1000 * hour, "", "a b", "", true},
			{0, "confirm", "", "", false},
			{minute, "", "", "", false},
		},
		"none, and then few": {
			{0, "a b c", "a b c", "", false},
			{minute, "", "a b c", "", true},
			{24 * hour, "d", "a b c", "", true},
			{24 * hour, "d", "d", "", false},
		},
		"less than half, and a reload": {
			{0, "a b c", "a b c", "", false},
			{minute, "a", "a b c", "", true},
			{0, "confirm", "a", "", false},
			{minute, "a", "a", "", false},
		},
		"a reload without a doubt": {
			{0, "a b c", "a b c", "", false},
			{minute, "a b", "a b c", "c", false},
			{0, "confirm", "a b c", "c", false},
			{minute, "", "a b c", "", true},
		},
	} {
		b, now := Belief{}, time.Unix(0, 0)
		for i, s := range steps {
			now = now.Add(s.after)
			before := maps.Clone(b.Known)
			after, err := b.Confirmed(), error(nil)
			if s.list != "confirm" {
				after, err = b.Read(listOf(s.list), now)
			}
			if !maps.Equal(before, b.Known) {
				t.Errorf("%s: step %d changed the belief before", name, i)
			}
			b = after
			var known []string
			for _, p := range b.Items() {
				known = append(known, p.Identifier)
			}
			doubted := err != nil && ReasonOf(err) == Doubted
			missing := strings.Join(b.Missing, " ")
			if strings.Join(known, " ") != s.known || missing != s.missing || doubted != s.doubted || doubted != (b.Doubted != nil) {
				t.Errorf("%s: step %d: known %q, missing %q, doubted %v, %v; want %+v", name, i, known, b.Missing, b.Doubted, err, s)
			}
		}
	}
}

// The fields of an item are those of the latest list.
func TestBeliefItems(t *testing.T) {
	b, _ := Belief{}.Read(map[string]Listed{"a": {Type: "jwt"}, "b": {}}, time.Now())
	b, _ = b.Read(map[string]Listed{"a": {Type: "oauth"}}, time.Now())
	if !slices.Equal(b.Items(), []Listed{{Type: "oauth"}, {}}) {
		t.Error(b.Items())
	}
}
