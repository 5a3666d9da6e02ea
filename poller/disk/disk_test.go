package disk

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ text, want, err string }{
		"plain":                 {"ä text\n", "ä text\n", ""},
		"mark at the start":     {"\ufefftext", "text", ""},
		"mark only":             {"\ufeff", "", ""},
		"mark elsewhere":        {"te\ufeffxt", "te\ufeffxt", ""},
		"UTF-16, little endian": {"\xff\xfet\x00", "", "UTF-16 text: save it as UTF-8"},
		"UTF-16, big endian":    {"\xfe\xff\x00t", "", "UTF-16 text: save it as UTF-8"},
		"at the limit":          {strings.Repeat("x", 20), strings.Repeat("x", 20), ""},
		"over the limit":        {strings.Repeat("x", 21), "", "longer than 20 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(t.Context(), path, 20)
		if string(got) != c.want || (err == nil) != (c.err == "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && err.Error() != "read "+path+": "+c.err {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadWithoutSuchFile(t *testing.T) {
	if _, err := Read(t.Context(), "/dev/zero", 1<<20); err == nil || err.Error() != "read /dev/zero: longer than 1048576 bytes" {
		t.Error(err)
	}
	if _, err := Read(t.Context(), "/none", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Read(t.Context(), t.TempDir(), 1); !errors.Is(err, syscall.EISDIR) {
		t.Error(err)
	}
}

// While a read of a pipe without a writer hangs, other reads return when their context ends. After it, a read returns the new file.
func TestReadOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		_, err := Read(ctx, path, 20)
		if e, ok := errors.AsType[*fs.PathError](err); !ok || e.Path != path || !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	late := filepath.Join(t.TempDir(), "late")
	if err := errors.Join(os.WriteFile(late, []byte("late"), 0o600), os.Rename(late, path), writer.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(t.Context(), path, 20); err != nil || !bytes.Equal(got, []byte("late")) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDoTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, calls := make(chan struct{}), atomic.Int32{}
		hang := func() (string, error) {
			calls.Add(1)
			<-release
			return "done", nil
		}
		start := time.Now()
		for _, after := range []time.Duration{3 * time.Second, 3 * time.Second} { // the second call waits for the first
			if _, err := Do(t.Context(), 3*time.Second, "write", "/mnt/x", hang); err == nil || !Transient(err) ||
				err.Error() != "write /mnt/x: timed out after 3s" || time.Since(start) != after {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
		time.AfterFunc(time.Second, func() { close(release) })
		if calls.Load() != 1 {
			t.Errorf("called %d times at once", calls.Load())
		}
		if _, err := Do(t.Context(), time.Minute, "write", "/mnt/x", hang); err != nil || calls.Load() != 2 {
			t.Errorf("%v, called %d times", err, calls.Load())
		}
	})
}

// After a mount that hung is mounted again, the path leads to a good file, although the first read still hangs.
func TestReadIsRetriedWhileOneHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var calls atomic.Int32
		read := func() ([]byte, error) {
			calls.Add(1)
			<-release
			return nil, nil
		}
		for range 3600 {
			if _, err := do(t.Context(), readTimeout, maxHanging, "read", "/mnt/x", read); err == nil {
				t.Fatal("it returned")
			}
			time.Sleep(time.Second)
		}
		if n := calls.Load(); n != maxHanging {
			t.Errorf("%d hang, want %d", n, maxHanging)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		release, calls := make(chan struct{}), atomic.Int32{}
		defer close(release)
		read := func() (string, error) {
			if calls.Add(1) == 1 {
				<-release
			}
			return "good", nil
		}
		_, err := do(t.Context(), readTimeout, maxHanging, "read", "/mnt/y", read)
		time.Sleep(retryHanging)
		if got, again := do(t.Context(), readTimeout, maxHanging, "read", "/mnt/y", read); err == nil || again != nil || got != "good" {
			t.Errorf("%v, then %q, %v", err, got, again)
		}
	})
}
