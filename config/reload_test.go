package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// reloads is a targets file, its Reloader, and the arguments of its callbacks.
type reloads struct {
	*Reloader
	t       *testing.T
	path    string
	applied []string
	results []error
}

func newReloads(t *testing.T, path, first string, more ...string) (*reloads, *Config) {
	t.Helper()
	r := &reloads{t: t, path: path}
	r.write(first)
	c := mustLoad(t, append(without(minimal(more...), "IDAAS_TARGETS"), "IDAAS_TARGETS_FILE="+path))
	return r, c
}

func (r *reloads) start(c *Config) {
	r.Reloader = c.NewReloader(func(w Watchlist, _ bool) error {
		resolved, err := w.Resolve(&poller.Lists{})
		targets := resolved.Targets
		r.applied = append(r.applied, consumers(targets))
		return err
	}, func(err error) { r.results = append(r.results, err) })
}

func consumers(targets []poller.Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, t.Consumer)
	}
	return strings.Join(names, " ")
}

func (r *reloads) write(consumers ...string) {
	r.t.Helper()
	text := "targets:\n"
	for _, c := range consumers {
		text += "- {consumer: " + c + ", credential_providers: [p]}\n"
	}
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// want compares the arguments of the callbacks since the last call.
func (r *reloads) want(what string, faults int, applied ...string) {
	r.t.Helper()
	bad := 0
	for _, err := range r.results {
		if err != nil {
			bad++
		}
	}
	if !slices.Equal(r.applied, applied) || bad != faults || len(r.results) != faults+len(applied) {
		r.t.Errorf("%s: applied %q, results %v", what, r.applied, r.results)
	}
	r.applied, r.results = nil, nil
}

func TestReload(t *testing.T) {
	r, c := newReloads(t, filepath.Join(t.TempDir(), "targets.yaml"), "a")
	r.start(c)
	r.want("before", 0)
	if err := r.Reload(); err != nil {
		t.Error(err)
	}
	r.want("unchanged", 0, "a")
	r.write("a", "b")
	if err := r.Reload(); err != nil {
		t.Error(err)
	}
	r.want("changed", 0, "a b")
	r.write("a", "a", "b", "b")
	err := r.Reload()
	if faults, ok := errors.AsType[Faults](err); !ok || len(faults) != 2 {
		t.Errorf("%v", err)
	}
	r.want("bad", 1)
	if err := r.Reload(); err == nil {
		t.Error("good")
	}
	r.want("as bad as before", 1)
	if consumers(c.Targets) != "a" {
		t.Errorf("the settings have changed: %v", c.Targets)
	}
}

func TestReloadIfChanged(t *testing.T) {
	r, c := newReloads(t, filepath.Join(t.TempDir(), "targets.yaml"), "a")
	r.start(c)
	_ = r.reload(false)
	r.want("as loaded", 0)
	r.write("a")
	_ = r.reload(false)
	r.want("written again, the same", 0)
	for _, step := range []struct {
		what    string
		targets []string
		faults  int
		applied []string
	}{
		{"changed", []string{"b"}, 0, []string{"b"}},
		{"bad", []string{"b", "b"}, 1, nil},
		{"bad in another way", []string{"c", "c"}, 1, nil},
		{"as before the bad ones", []string{"b"}, 0, []string{"b"}},
	} {
		r.write(step.targets...)
		_ = r.reload(false)
		_ = r.reload(false)
		r.want(step.what, step.faults, step.applied...)
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	_ = r.reload(false)
	_ = r.reload(false)
	r.want("gone", 1)
	r.write("b")
	_ = r.reload(false)
	r.want("back", 0, "b")
	r.write("c")
	if err := r.Reload(); err != nil {
		t.Error(err)
	}
	_ = r.reload(false)
	r.want("reloaded already", 0, "c")
}

// TestChangeBeforeTheReloader checks that a change between Load and NewReloader is noticed.
func TestChangeBeforeTheReloader(t *testing.T) {
	r, c := newReloads(t, filepath.Join(t.TempDir(), "targets.yaml"), "a")
	r.write("b")
	r.start(c)
	_ = r.reload(false)
	r.want("changed", 0, "b")
}

func TestReloadWithoutAFile(t *testing.T) {
	r := &reloads{t: t}
	r.start(mustLoad(t, minimal()))
	_ = r.reload(false)
	r.want("if changed", 0)
	if err := r.Reload(); err != nil {
		t.Error(err)
	}
	r.want("in any case", 0, "app_2")
}

func TestReloadTakesTheShare(t *testing.T) {
	r, c := newReloads(t, filepath.Join(t.TempDir(), "targets.yaml"), "a", "IDAAS_SHARD_COUNT=2")
	r.start(c)
	r.write("a", "b", "c", "d", "e", "f")
	_ = r.reload(false)
	if len(r.applied) != 1 || r.applied[0] == "" || len(r.applied[0]) >= len("a b c d e f") {
		t.Errorf("%q", r.applied)
	}
}

// TestReloadSeesKubernetesSwap changes a mounted ConfigMap as the kubelet does.
func TestReloadSeesKubernetesSwap(t *testing.T) {
	dir := t.TempDir()
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []string{"..1", "..2"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/targets.yaml", "targets.yaml")
	r, c := newReloads(t, filepath.Join(dir, "targets.yaml"), "a")
	r.start(c)
	second := reloads{t: t, path: filepath.Join(dir, "..2", "targets.yaml")}
	second.write("b")
	_ = r.reload(false)
	r.want("before the swap", 0)
	link("..2", "..data_tmp")
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	_ = r.reload(false)
	r.want("after the swap", 0, "b")
}

// An error of apply fails the reload. Only Reload is a request of an operator.
func TestReloadThatCannotBeApplied(t *testing.T) {
	r, c := newReloads(t, filepath.Join(t.TempDir(), "targets.yaml"), "a")
	var operators []bool
	no := errors.New("no")
	r.Reloader = c.NewReloader(func(_ Watchlist, operator bool) error {
		operators = append(operators, operator)
		return no
	}, func(err error) { r.results = append(r.results, err) })
	err := r.Reload()
	r.write("b")
	changed := r.reload(false)
	if !slices.Equal([]error{err, changed}, []error{no, no}) || !slices.Equal(operators, []bool{true, false}) || !slices.Equal(r.results,
		[]error{no, no}) {
		t.Errorf("%v, %v, by an operator %v, results %v", err, changed, operators, r.results)
	}
}

// TestReloadsConcurrently checks that one reload runs at a time and a change is applied once.
func TestReloadsConcurrently(t *testing.T) {
	r, c := newReloads(t, filepath.Join(t.TempDir(), "targets.yaml"), "a")
	var running, applied atomic.Int32
	r.Reloader = c.NewReloader(func(Watchlist, bool) error {
		if running.Add(1) != 1 {
			t.Error("two at once")
		}
		applied.Add(1)
		return nil
	}, func(err error) {
		if err != nil {
			t.Error(err)
		}
		running.Add(-1)
	})
	for i := range 5 {
		r.write(fmt.Sprint("c", i))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { _ = r.reload(false) })
			all.Go(func() { _, _ = c.LoadTargets() })
		}
		all.Wait()
		if got := applied.Swap(0); got != 1 {
			t.Errorf("applied %d times", got)
		}
		for range 4 {
			all.Go(func() { _ = r.Reload() })
			all.Go(func() { _ = r.reload(false) })
		}
		all.Wait()
		if got := applied.Swap(0); got != 4 {
			t.Errorf("applied %d times", got)
		}
	}
}

// TestRun checks that SIGHUP reloads, and that Run returns with its context.
func TestRun(t *testing.T) {
	// Otherwise a SIGHUP before NewReloader would end the test.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGHUP)
	defer signal.Stop(ignored)
	results := make(chan error)
	r := mustLoad(t, minimal()).NewReloader(func(Watchlist, bool) error { return nil }, func(err error) { results <- err })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for reloaded := false; !reloaded; {
		if err := self.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-results:
			reloaded = err == nil
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	go func() {
		for range results { // of signals in flight
		}
	}()
	running.Wait()
	close(results)
}
