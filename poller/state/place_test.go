package state

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A symbolic link stays one: its target is written, read and renamed, and may not exist yet.
func TestSymbolicLinks(t *testing.T) {
	for name, c := range map[string]struct{ link, target, real string }{
		"relative":                  {"state", "volume/data", "volume/data"},
		"absolute":                  {"state", "ROOT/volume/data", "volume/data"},
		"to a link":                 {"state", "linked/../link", "volume/data"},
		"out of a folder linked":    {"linked/state", "../data", "volume/data"},
		"of its folder":             {"", "", "volume/deep/state"},
		"to a folder not there":     {"state", "none/data", ""},
		"to itself, without an end": {"state", "state", ""},
	} {
		for _, there := range []bool{true, false} {
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			must(t, os.MkdirAll(in("volume/deep"), 0o700), os.Symlink("volume/deep", in("linked")), os.Symlink("data", in("volume/link")))
			f := File{Path: in("linked/state"), Instance: "i"}
			if c.link != "" {
				f.Path = in(c.link)
				must(t, os.Symlink(strings.Replace(c.target, "ROOT", dir, 1), f.Path))
			}
			if c.real == "" {
				if err := f.Save(some()); err == nil {
					t.Errorf("%s: saved", name)
				}
				continue
			}
			if there {
				must(t, os.WriteFile(in(c.real), []byte("bad"), 0o600))
				if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), " (renamed to ") {
					t.Errorf("%s: %v", name, err)
				}
			} else if got, err := f.Load(); got.Readings != nil || err != nil {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			for range 2 {
				must(t, f.Save(some()))
			}
			if info, err := os.Lstat(in(c.real)); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: %v, %v", name, info, err)
			}
			if bad, err := os.ReadFile(in(c.real) + ".bad"); there && (err != nil || string(bad) != "bad") {
				t.Errorf("%s: renamed: %q, %v", name, bad, err)
			}
			if info, err := os.Lstat(f.Path); c.link != "" && (err != nil || info.Mode().Type() != os.ModeSymlink) {
				t.Errorf("%s: the link is gone: %v, %v", name, info, err)
			}
			if got, err := f.Load(); err != nil || len(got.Readings) != 5 {
				t.Errorf("%s: %d readings, %v", name, len(got.Readings), err)
			}
			if halves, err := filepath.Glob(in("*/.*")); err != nil || len(halves) > 0 {
				t.Errorf("%s: left over: %v, %v", name, halves, err)
			}
		}
	}
}

// asNobody calls f as a user to whom file modes apply, unlike root.
func asNobody(t *testing.T, dir string, f func()) {
	t.Helper()
	const nobody = 65534
	root := os.Geteuid() == 0
	if root {
		must(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o711), os.Chown(dir, nobody, nobody))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked, so the thread ends with the goroutine
		if root {
			if err := syscall.Setfsuid(nobody); err != nil {
				t.Error(err)
				return
			}
		}
		f()
	}()
	<-done
}

// A file that cannot be read is renamed. If that fails, too, it stays, and saving fails.
func TestUnreadableFile(t *testing.T) {
	for name, c := range map[string]struct {
		mode    os.FileMode // of the folder
		earlier bool        // there is one renamed already
		says    string
		saved   bool
	}{
		"renamed":          {0o700, false, "permission denied (renamed to ", true},
		"an earlier one":   {0o700, true, "permission denied (not renamed: ", false},
		"a fixed folder":   {0o500, false, "permission denied (not renamed: rename ", false},
		"an unseen folder": {0o000, false, "permission denied", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "folder")
			f := File{Path: filepath.Join(dir, "state"), Instance: "i"}
			must(t, os.Mkdir(dir, 0o700), f.Save(some()))
			before, err := os.ReadFile(f.Path)
			must(t, err, os.Chmod(f.Path, 0))
			if c.earlier {
				must(t, os.WriteFile(f.Path+".bad", []byte("earlier"), 0o600))
			}
			must(t, os.Chmod(dir, c.mode))
			defer func() { must(t, os.Chmod(dir, 0o700)) }()
			asNobody(t, dir, func() {
				got, err := f.load()
				if got.Readings != nil || err == nil || !strings.Contains(err.Error(), c.says) ||
					strings.Contains(err.Error(), "(renamed to ") != c.saved {
					t.Errorf("load: %v", err)
				}
				if err := f.save(some()); (err == nil) != c.saved || err != nil && !strings.Contains(err.Error(), "permission denied") {
					t.Errorf("save: %v", err)
				}
			})
			must(t, os.Chmod(dir, 0o700))
			kept := f.Path
			if c.saved {
				kept += ".bad"
			}
			must(t, os.Chmod(kept, 0o600))
			if after, err := os.ReadFile(kept); err != nil || !bytes.Equal(before, after) {
				t.Errorf("%s is not what it was: %v", kept, err)
			}
		})
	}
}

// A path that is not a regular file stays, and the error names its type.
func TestNotARegularFile(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	listener, err := net.Listen("unix", in("socket"))
	must(t, err, os.Mkdir(in("folder"), 0o700), syscall.Mkfifo(in("pipe"), 0o600), os.Symlink("pipe", in("link")))
	defer listener.Close()
	device := in("device")
	if err := syscall.Mknod(device, syscall.S_IFCHR|0o600, 1<<8|7); err != nil {
		device = "/dev/full" // a user who cannot create a device cannot replace this one
	}
	for path, what := range map[string]string{
		device: "a device, not a file", in("folder"): "a folder, not a file", in("socket"): "a socket, not a file",
		in("pipe"): "a pipe, not a file", in("link"): "a pipe, not a file",
	} {
		f := File{Path: path, Instance: "i"}
		if got, err := f.Load(); got.Readings != nil || err == nil || !strings.HasSuffix(err.Error(), what) {
			t.Errorf("%s loaded: %v, %v", path, got, err)
		}
		if err := f.Save(some()); err == nil || !strings.HasSuffix(err.Error(), what) {
			t.Errorf("%s saved: %v", path, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		if _, err := os.Lstat(path + ".bad"); err == nil {
			t.Errorf("%s was renamed", path)
		}
	}
}

// A disk that hangs is a failure. The write is retried later.
func TestDiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFile(t)
		const says = ": timed out after 30s"
		hang(f, time.Minute)
		if got, err := f.Load(); got.Readings != nil || err == nil || !strings.HasSuffix(err.Error(), says) {
			t.Errorf("%v, %v", got, err)
		}
		time.Sleep(time.Minute)
		hang(f, time.Minute)
		var saves []error
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		s := snapshot(reading("a", census(5), nil))
		wg.Go(func() {
			saved := func(err error) { saves = append(saves, err) }
			f.Keep(ctx, func() *poller.Snapshot { return s }, saved, slog.New(slog.NewTextHandler(&log, nil)))
		})
		time.Sleep(90 * time.Second)
		cancel()
		wg.Wait()
		if n := len(saves); n < 2 || saves[0] == nil || !strings.HasSuffix(saves[0].Error(), says) || saves[n-1] != nil {
			t.Errorf("saves: %v", saves)
		}
		if text := log.String(); strings.Count(text, "state file not written") != 1 || strings.Count(text, "state file written again") != 1 {
			t.Errorf("want one line per transition:\n%s", text)
		}
		if got, err := f.Load(); err != nil || len(got.Readings) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}
