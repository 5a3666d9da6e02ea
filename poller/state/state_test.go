package state

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// TestMain is also the main function of a second process, which saves a state to the file in the variable and blocks.
func TestMain(m *testing.M) {
	if path := os.Getenv("SAVE_STATE_TO"); path != "" {
		s := snapshot(reading("a", census(1000), nil), reading("b", census(2000), nil))
		File{Path: path, Instance: "i"}.Keep(context.Background(), func() *poller.Snapshot { return s }, func(error) { fmt.Print("saved") },
			slog.Default())
	}
	goleak.VerifyTestMain(m)
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC)

// census has n active tokens that expire within 90 days.
func census(n int) *poller.Census {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	c := &poller.Census{
		Revoked: 3, Expired: 4, NeverExpiring: 5, Expirations: make([]int64, n),
		Lifetime: 7_776_000_000, NewestIssue: epoch.UnixMilli(), LastActive: epoch.UnixMilli() - 5,
		Info:     &poller.Info{ProviderID: "atp_01kr2cmj5gxxx4fvmls2e93dxxxxx", TokenType: "jwt", ConsumerType: "custom"},
		Soonest:  []poller.Expiry{{ID: "atntkn_1", Type: "jwt", Issued: epoch.UnixMilli(), Expires: epoch.UnixMilli() + 5}},
		Reported: int64(n + 12), Pages: n/100 + 1, ReadAt: epoch, Took: 1234567 * time.Microsecond,
	}
	for i := range c.Expirations {
		c.Expirations[i] = epoch.UnixMilli() + random.Int64N(90*24*3600*1000)
	}
	slices.Sort(c.Expirations)
	return c
}

func snapshot(readings ...*poller.Reading) *poller.Snapshot {
	return &poller.Snapshot{Readings: readings}
}

func reading(consumer string, c *poller.Census, f *poller.Failure) *poller.Reading {
	return &poller.Reading{Target: poller.Target{Consumer: consumer, Provider: "p", Label: "shown"}, Census: c, Failure: f}
}

func newFile(t testing.TB) File {
	return File{Path: filepath.Join(t.TempDir(), "state"), Instance: "https://example.aliyunidaas.com"}
}

func some() *poller.Snapshot {
	failure := &poller.Failure{Reason: poller.Forbidden, Text: `403: "no grant" für dich`, At: epoch.Add(time.Minute), Since: epoch}
	empty := &poller.Census{Reported: -1, ReadAt: epoch}
	return snapshot(reading("full", census(250), nil), reading("failing", census(3), failure), reading("never read", nil, failure),
		reading("empty", empty, nil), reading(`odd "id" Jürgen:測試`, census(1), nil))
}

func TestSavedStateIsLoaded(t *testing.T) {
	f := newFile(t)
	s := some()
	saved := snapshot(append(s.Readings, reading("never attempted", nil, nil))...)
	gone := reading("gone", census(2), nil)
	gone.Gone = epoch
	saved.Gone = map[poller.Key]*poller.Reading{gone.Target.Key(): gone}
	providers := map[string]poller.Listed{"p": {Identifier: "p", Type: "jwt"}}
	belief := poller.Belief{Known: providers, Missing: []string{"p"}, Doubted: map[string]poller.Listed{}, Since: epoch}
	saved.Lists = &poller.Lists{Providers: belief}
	if err := f.Save(saved); err != nil {
		t.Fatal(err)
	}
	s.Readings = append(s.Readings, gone)
	got, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Readings) != len(s.Readings) {
		t.Errorf("%d readings, want %d", len(got.Readings), len(s.Readings))
	}
	for _, want := range s.Readings {
		r := got.Readings[want.Target.Key()]
		if r == nil || !reflect.DeepEqual(r.Census, want.Census) || !reflect.DeepEqual(r.Failure, want.Failure) || !r.Gone.Equal(want.Gone) {
			t.Errorf("%s:\n got %+v %+v\nwant %+v %+v", want.Target.Consumer, r.Census, r.Failure, want.Census, want.Failure)
		}
	}
	if !reflect.DeepEqual(got.Lists, saved.Lists) {
		t.Errorf("lists: %+v", got.Lists)
	}
	info, err := os.Stat(f.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNoFileIsNoError(t *testing.T) {
	if got, err := newFile(t).Load(); got.Readings != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// A file that is incomplete or of another instance restores nothing. The error has the cause.
func TestBadFiles(t *testing.T) {
	f := newFile(t)
	if err := f.Save(some()); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name string, text []byte, want string) {
		t.Helper()
		_ = os.Remove(f.Path + ".bad")
		if err := os.WriteFile(f.Path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if kept, readErr := os.ReadFile(f.Path + ".bad"); readErr != nil || !bytes.Equal(kept, text) {
			t.Errorf("%s: it was not kept: %v", name, readErr)
		}
		if got.Readings != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), f.Path) {
			t.Errorf("%s: %d readings, %v; want %q", name, len(got.Readings), err, want)
		}
	}
	for n := range len(good) {
		refused(fmt.Sprint("cut after ", n), good[:n], "")
		damaged := slices.Clone(good)
		damaged[n] ^= 1 << (n % 8)
		refused(fmt.Sprint("byte ", n, " flipped"), damaged, "")
	}
	refused("empty", nil, "not a state file")
	refused("another program's", bytes.Repeat([]byte("x"), 1000), "not a state file")
	refused("no version", bytes.Replace(good, []byte("state 2"), []byte("state 0"), 1), `version '0'; this exporter reads 1 to 2`)
	refused("a later version", bytes.Replace(good, []byte("state 2"), []byte("state 3"), 1), `version '3'; this exporter reads 1 to 2`)
	refused("text appended", append(slices.Clone(good), "x"...), "damaged")

	// The checksum is right, but the content is not of this version.
	var body bytes.Buffer
	if err := (File{Instance: "https://other"}).write(&body, some()); err != nil {
		t.Fatal(err)
	}
	refused("another instance's", whole(version, body.Bytes()), `of another instance: "https://other"`)
	refused("no gzip", whole(version, []byte("{}")), "EOF")
	f.Path = t.TempDir()
	if got, err := f.Load(); got.Readings != nil || err == nil {
		t.Errorf("a directory: %v, %v", got, err)
	}
}

func TestSize(t *testing.T) {
	for _, n := range []int{0, 1, 20, 1000, 20_000, 1_000_000} {
		f := newFile(t)
		if err := f.Save(snapshot(reading("consumer", census(n), nil))); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if limit := int64(6*n + 2048); info.Size() > limit {
			t.Errorf("%d tokens take %d bytes, at most %d are promised", n, info.Size(), limit)
		}
		t.Logf("%d tokens: %d bytes", n, info.Size())
	}
}

// The first bad file stays: it may be the state of the right instance, read with a typo in the settings.
func TestFirstBadFileStays(t *testing.T) {
	good := newFile(t)
	typo := File{Path: good.Path, Instance: "https://tpyo"}
	save := func(f File) {
		if err := f.Save(some()); err != nil {
			t.Fatal(err)
		}
	}
	save(good)
	if _, err := typo.Load(); err == nil {
		t.Fatal("the state of another instance was restored")
	}
	save(typo)
	if _, err := good.Load(); err == nil {
		t.Fatal("the state of another instance was restored")
	}
	save(good)
	good.Path += ".bad"
	if got, err := good.Load(); err != nil || len(got.Readings) != 5 {
		t.Errorf("%d readings, %v", len(got.Readings), err)
	}
}

func TestUnwritable(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "missing", "state")}
	if err := f.Save(some()); err == nil {
		t.Error("saved into a folder that does not exist")
	}
	full := File{Path: "/dev/full/state"}
	if err := full.Save(some()); err == nil {
		t.Error("saved below a device")
	}
}

// At every moment of a save the file is a complete one. A process that is killed leaves that file and a temporary one.
func TestFileIsCompleteAtAnyMoment(t *testing.T) {
	f := newFile(t)
	must(t, f.save(some()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			if err := f.save(some()); err != nil {
				t.Error(err)
			}
		}
	}()
	for saving := true; saving; {
		select {
		case <-done:
			saving = false
		default:
		}
		if got, err := f.load(); err != nil || len(got.Readings) != 5 {
			t.Fatalf("%d readings, %v", len(got.Readings), err)
		}
	}
	var temporary []string
	for range 2 {
		file, err := renameio.NewPendingFile(f.Path, renameio.WithTempDir(filepath.Dir(f.Path)))
		must(t, err, file.Close())
		temporary = append(temporary, file.Name())
	}
	old := time.Now().Add(-2 * time.Minute)
	must(t, os.Chtimes(temporary[0], old, old))
	if got, err := f.load(); err != nil || len(got.Readings) != 5 {
		t.Errorf("%d readings, %v", len(got.Readings), err)
	}
	for i, want := range []bool{false, true} { // the recent one may be in use
		if _, err := os.Stat(temporary[i]); (err == nil) != want {
			t.Errorf("temporary file %d: %v", i, err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	f := newFile(b)
	s := snapshot(reading("a", census(1_000_000), nil))
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Save(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	f := newFile(b)
	if err := f.Save(snapshot(reading("a", census(1_000_000), nil))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Load(); err != nil {
			b.Fatal(err)
		}
	}
}

// Without a path, no file is removed.
func TestWithoutPath(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("..5", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := (File{}).Load(); got.Readings != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := os.Stat("..5"); err != nil {
		t.Error(err)
	}
}
