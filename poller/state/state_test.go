package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC)

// census has n active tokens that end within 90 days.
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

func TestWhatIsSavedIsLoaded(t *testing.T) {
	f := newFile(t)
	s := some()
	saved := snapshot(append(s.Readings, reading("never attempted", nil, nil))...)
	gone := reading("gone", census(2), nil)
	gone.Gone = epoch
	saved.Gone = map[poller.Key]*poller.Reading{gone.Target.Key(): gone}
	providers := map[string]poller.Listed{"p": {Identifier: "p", Type: "jwt"}}
	saved.Lists = &poller.Lists{Providers: poller.Belief{Known: providers, Missing: []string{"p"}, Doubted: map[string]poller.Listed{}, Since: epoch}}
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

// A file that is not whole or not ours restores nothing and says why.
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

	// Whole by its checksum, but not what this version writes.
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

// Of a state that was kept aside because of a typo, what was read with the typo leaves nothing over.
func TestTheFirstBadFileIsKept(t *testing.T) {
	good := newFile(t)
	typo := File{Path: good.Path, Instance: "https://tpyo"}
	save := func(f File) {
		if err := f.Save(some()); err != nil {
			t.Fatal(err)
		}
	}
	save(good)
	if _, err := typo.Load(); err == nil {
		t.Fatal("another instance's was restored")
	}
	save(typo)
	if _, err := good.Load(); err == nil {
		t.Fatal("another instance's was restored")
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

// Whenever the process is killed, the file is the last whole one.
func TestKilledAtAnyMoment(t *testing.T) {
	saver := filepath.Join(t.TempDir(), "saver")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", saver, "./testdata/saver").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := File{Path: filepath.Join(t.TempDir(), "state"), Instance: "i"}
	restored := 0
	for i := range 200 {
		cmd := exec.CommandContext(t.Context(), saver, f.Path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i%10 > 0 { // else, as likely as not, before the first save of a process
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // the random moment
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("it ended by itself: %v", err)
		}
		got, err := f.Load()
		if err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
		if got.Readings == nil && i%10 == 0 && restored == 0 {
			continue
		}
		restored++
		a, b := got.Readings[poller.Key{Consumer: "a", Provider: "p"}], got.Readings[poller.Key{Consumer: "b", Provider: "p"}]
		if len(a.Census.Expirations) < 1000 || len(b.Census.Expirations) != 2000 {
			t.Fatalf("after kill %d: %d and %d tokens", i, len(a.Census.Expirations), len(b.Census.Expirations))
		}
	}
	// What was left is tidied up when it is old enough to be nobody's work under way.
	old := time.Now().Add(-2 * time.Minute)
	halves, err := filepath.Glob(filepath.Join(filepath.Dir(f.Path), ".state*"))
	if err != nil || len(halves) == 0 {
		t.Errorf("nothing is left by 200 kills: %v", err)
	}
	for i, half := range halves {
		if i > 0 {
			err = errors.Join(err, os.Chtimes(half, old, old))
		}
	}
	if _, loadErr := f.Load(); errors.Join(err, loadErr) != nil {
		t.Fatal(err, loadErr)
	}
	if left, err := os.ReadDir(filepath.Dir(f.Path)); err != nil || len(left) != 3 {
		t.Errorf("beside the state, its lock and the half that is new there are: %v, %v", left, err)
	}
	t.Logf("restorable after all of 200 kills, %d of them with a file", restored)
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

// Without a path there is nothing of ours to tidy up.
func TestWithoutAPathNothingIsTouched(t *testing.T) {
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
