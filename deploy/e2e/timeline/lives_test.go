package timeline

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	seed    = flag.Uint64("seed", 1, "of the first life")
	count   = flag.Int("lives", 2, "how many, with seeds counting up")
	targets = flag.Int("targets", 8, "targets of a life")
	weeks   = flag.Int("weeks", 1, "weeks of a life")
)

// TestLives holds the promise against random lives. Of one that breaks it, the smallest part that does is written to testdata/lives.
func TestLives(t *testing.T) {
	for n := range *count {
		seed := *seed + uint64(n)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			w := random(seed, *targets, time.Duration(*weeks)*7*day)
			broken, _ := live(t, w)
			if broken == nil {
				return
			}
			var all []string
			for _, of := range broken {
				all = append(all, of...)
			}
			t.Errorf("seed %d, %d targets, %d weeks, polled every %v:\n%s", seed, *targets, *weeks, w.Polled, strings.Join(all, "\n"))
			first := slices.IndexFunc(w.Lives, func(l *life) bool { return broken[l.subject()] != nil })
			small, err := json.MarshalIndent(smallest(t, w, w.Lives[first]), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			file := fmt.Sprintf("%s/%d_%s.json", kept, seed, w.Lives[first].Consumer)
			if err := os.WriteFile(file, small, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Log("the smallest part of it: ", file)
		})
	}
}

const kept = "../e2e/timeline/testdata/lives"

// TestKept lives again what once broke the promise.
func TestKept(t *testing.T) {
	files, err := filepath.Glob(kept + "/*.json")
	if err != nil || files == nil {
		t.Fatal("no lives", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := &world{}
			if err := json.Unmarshal(text, w); err != nil {
				t.Fatal(err)
			}
			broken, timeline := live(t, w)
			if broken != nil {
				t.Error(broken)
			}
			golden(t, strings.TrimSuffix(file, ".json")+".txt", timeline)
		})
	}
}

// live plays a world and returns what of the promise was not kept, by target.
func live(t *testing.T, w *world) (broken map[string][]string, timeline string) {
	transitions, timeline := Run(t, w.scenario(fmt.Sprintf("A random life, polled every %v.", w.Polled)))
	h := hear(transitions, epoch, w.Lasts)
	for _, l := range w.Lives {
		if b := w.broken(l, h); b != nil {
			if broken == nil {
				broken = map[string][]string{}
			}
			broken[l.subject()] = b
		}
	}
	return broken, timeline
}

// smallest leaves out the other targets, each fault without which the promise is broken still, and the time before and after.
func smallest(t *testing.T, w *world, l *life) *world {
	small := world{w.Lasts, w.Polled, []*life{l}, w.Faults}
	try := func(less world) {
		if broken, _ := live(t, &less); broken != nil {
			small = less
		}
	}
	for i := len(w.Faults) - 1; i >= 0; i-- {
		try(world{small.Lasts, small.Polled, small.Lives, slices.Delete(slices.Clone(small.Faults), i, i+1)})
	}
	if len(small.Faults) > 0 {
		try(small.from(small.Faults[0].From - 12*hour))
		try(world{min(small.Lasts, small.Faults[len(small.Faults)-1].To+12*hour), small.Polled, small.Lives, small.Faults})
	}
	return &small
}

// from is the world since a time.
func (w *world) from(at time.Duration) world {
	later := world{Lasts: w.Lasts - at, Polled: w.Polled, Faults: slices.Clone(w.Faults)}
	for i := range later.Faults {
		later.Faults[i].From -= at
		later.Faults[i].To -= at
	}
	for _, l := range w.Lives {
		l := *l
		for _, t := range []*time.Duration{&l.First, &l.Stop, &l.Back} {
			*t -= at
		}
		if l.Revoked.At > 0 {
			l.Revoked.At -= at
			l.Revoked.Reinstated = max(0, l.Revoked.Reinstated-at)
		}
		later.Lives = append(later.Lives, &l)
	}
	return later
}
