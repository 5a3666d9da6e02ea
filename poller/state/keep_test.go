package state

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "folder")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		rename := func(from, to string) {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		f := File{Path: filepath.Join(folder, "state"), Instance: "i"}
		var mu sync.Mutex
		current := snapshot(reading("a", nil, nil))
		set := func(s *poller.Snapshot) {
			mu.Lock()
			defer mu.Unlock()
			current = s
		}
		var saves []error
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			f.Keep(ctx, func() *poller.Snapshot {
				mu.Lock()
				defer mu.Unlock()
				return current
			}, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				saves = append(saves, err)
			}, slog.New(slog.NewTextHandler(&log, nil)))
		})
		expect := func(what string, n int) {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(saves) != n {
				t.Errorf("%s: %d saves, want %d", what, len(saves), n)
			}
		}
		expect("at start, when nothing is known", 0)
		c := census(5)
		set(snapshot(reading("a", c, nil)))
		expect("a walk", 1)
		expect("nothing new", 1)
		failing := func(at time.Duration) *poller.Failure {
			return &poller.Failure{Reason: poller.Timeout, Text: poller.WithRequestID("late", at.String()), At: epoch.Add(at)}
		}
		set(snapshot(reading("a", c, failing(0))))
		expect("a failure", 2)
		set(snapshot(reading("a", c, failing(time.Hour))))
		expect("the same failure again", 2)
		set(snapshot(reading("b", c, failing(time.Hour))))
		expect("other targets", 3)
		listed := snapshot(current.Readings...)
		listed.Lists = &poller.Lists{}
		set(listed)
		expect("another list", 4)
		set(&poller.Snapshot{Readings: listed.Readings, Lists: listed.Lists})
		expect("the same list", 4)

		rename(folder, folder+" gone")
		set(snapshot(reading("b", census(6), nil)))
		expect("an unwritable disk", 5)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		mu.Lock()
		if n := len(saves); n < 6 || n > 8 || saves[n-1] == nil {
			t.Errorf("tries of an unwritable disk: %v", saves)
		}
		mu.Unlock()
		rename(folder+" gone", folder)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		mu.Lock()
		if err := saves[len(saves)-1]; err != nil {
			t.Errorf("after the disk was mended: %v", err)
		}
		mu.Unlock()
		set(snapshot(reading("b", census(7), nil)))
		cancel()
		wg.Wait()
		got, err := f.Load()
		if err != nil || len(got.Readings[poller.Key{Consumer: "b", Provider: "p"}].Census.Expirations) != 7 {
			t.Errorf("the last change before the end is lost: %v", err)
		}
		if text := log.String(); strings.Count(text, "state file not written") != 1 || strings.Count(text, "state file written again") != 1 {
			t.Errorf("want one line per transition:\n%s", text)
		}
		if errors.Join(saves[:4]...) != nil {
			t.Errorf("saves: %v", saves)
		}
	})
}

// hang keeps the file at the path of f busy for d.
func hang(f File, d time.Duration) {
	go func() {
		_, _ = disk.Do(context.Background(), time.Hour, access, f.Path, func() (int, error) { time.Sleep(d); return 0, nil })
	}()
	synctest.Wait()
}

// The file is written at most every 10 s, and less often if a write takes long.
func TestPaceOfWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFile(t)
		var writes []time.Duration
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		changing := true
		wg.Go(func() {
			f.Keep(ctx, func() *poller.Snapshot {
				if changing || len(writes) == 0 {
					return snapshot(reading("a", census(1), nil))
				}
				return snapshot()
			}, func(err error) {
				writes = append(writes, time.Since(start))
				if err != nil {
					t.Error(err)
				}
			}, slog.New(slog.DiscardHandler))
		})
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if n := len(writes); n != 7 || writes[0] > time.Second {
			t.Errorf("written at %v, want the first at once and one every 10 s", writes)
		}
		hang(f, 11*time.Second) // the write at 70 s begins within it and takes over a second
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		slow := slices.IndexFunc(writes, func(at time.Duration) bool { return at > 70*time.Second })
		if slow < 0 || slow+2 > len(writes) {
			t.Fatalf("written at %v", writes)
		}
		// It began at 60.5 s or 70.5 s, and the next begins 50 times its length later.
		took := writes[slow] - 70*time.Second - 500*time.Millisecond
		if pause := writes[slow+1] - 70*time.Second - 500*time.Millisecond; took <= time.Second || pause != 50*took {
			t.Errorf("a write took %v, the next began %v after it began, want 50 times as long; all at %v", took, pause, writes)
		}
		if last := writes[len(writes)-1] - writes[len(writes)-2]; last != 10*time.Second {
			t.Errorf("%v between fast writes", last)
		}
		cancel()
		wg.Wait()
	})
}

// Of two processes with one state file, the second reports an error and does not change it until the first ends.
func TestTwoProcesses(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "state"), Instance: "i"}
	first := exec.CommandContext(t.Context(), os.Args[0])
	first.Env = append(os.Environ(), "SAVE_STATE_TO="+f.Path)
	out, err := first.StdoutPipe()
	must(t, err, first.Start())
	_, err = out.Read(make([]byte, 1))
	must(t, err)
	before, err := os.ReadFile(f.Path)
	must(t, err)
	unchanged := func(what string) {
		t.Helper()
		if after, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file of the first process has changed: %v", what, err)
		}
	}
	const says = "another process uses this state file; each process needs its own"
	if err := f.Save(some()); err == nil || !strings.HasSuffix(err.Error(), says) {
		t.Errorf("saved: %v", err)
	}
	unchanged("save")
	if got, err := f.Load(); err != nil || len(got.Readings) != 2 {
		t.Errorf("%d readings, %v", len(got.Readings), err)
	}
	if _, err := (File{Path: f.Path, Instance: "j"}).Load(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("another instance's: %v", err)
	}
	unchanged("load with other settings")

	synctest.Test(t, func(t *testing.T) {
		var saves []error
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		s := some()
		wg.Go(func() {
			saved := func(err error) { saves = append(saves, err) }
			f.Keep(ctx, func() *poller.Snapshot { return s }, saved, slog.New(slog.NewTextHandler(&log, nil)))
		})
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if len(saves) != 3 || saves[2] == nil || !strings.Contains(log.String(), says) {
			t.Errorf("saves: %v\n%s", saves, log.String())
		}
		unchanged("keep")
		must(t, first.Process.Kill())
		_ = first.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(saves) != 4 || saves[3] != nil {
			t.Errorf("after the first has ended: %v", saves)
		}
		cancel()
		wg.Wait()
	})
	if got, err := f.Load(); err != nil || len(got.Readings) != 5 {
		t.Errorf("%d readings, %v", len(got.Readings), err)
	}
}

// A file that is mounted as a single file can be neither replaced nor renamed: the error names the folder to mount.
func TestMountedFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder")
	path := filepath.Join(dir, "state")
	must(t, os.Mkdir(dir, 0o700), os.WriteFile(path, nil, 0o600), os.WriteFile(path+".bad", nil, 0o600)) // so that it is not renamed
	t.Chdir(dir)
	t.Cleanup(func(before string) func() { return func() { mountinfo = before } }(mountinfo))
	mountinfo = filepath.Join(t.TempDir(), "mountinfo")
	busy := &os.LinkError{Op: "rename", Old: "x", New: path, Err: syscall.EBUSY}
	for mounted, want := range map[string]bool{path: true, dir: false, path + "2": false, "": false} {
		fields := strings.ReplaceAll(path+"\t"+mounted, " ", `\040`)
		must(t, os.WriteFile(mountinfo, []byte("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 8:1 "+fields+" rw - ext4 /dev/sda1 rw\n"), 0o600))
		err := advise(path, busy)
		if got := strings.Contains(err.Error(), "mount its folder "+dir+" instead"); got != want || !errors.Is(err, syscall.EBUSY) {
			t.Errorf("%q mounted: %v", mounted, err)
		}
		if _, err := (File{Path: "state", Instance: "i"}).Load(); strings.Contains(err.Error(), "mount its folder") != want {
			t.Errorf("%q mounted: loaded: %v", mounted, err)
		}
		if err := advise(path, nil); err != nil {
			t.Error(err)
		}
	}
}
