// Package disk bounds what a file can cost: one that does not come back (a pipe without a writer, a network file system
// that is gone) holds up nobody for long, and one without end is not read whole.
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// readTimeout is how long a file may take to be read: a local one takes no time at all.
const readTimeout = 5 * time.Second

// Read returns the text in the file at path, at most limit bytes, without the byte order mark that some editors put in
// front. It returns within 5 s, or when ctx ends. While one hangs, another is tried now and then: the path may lead to a
// good file again. Errors name the path, as an fs.PathError.
func Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	return do(ctx, readTimeout, maxHanging, "read", path, func() ([]byte, error) {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		data, err := io.ReadAll(io.LimitReader(file, limit+1))
		switch {
		case err != nil:
			return nil, err
		case int64(len(data)) > limit:
			err = fmt.Errorf("longer than %d bytes", limit)
		case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
			err = errors.New("UTF-16 text: save it as UTF-8")
		default:
			return bytes.TrimPrefix(data, []byte("\ufeff")), nil
		}
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	})
}

// maxHanging is how many reads of a path may hang, each of which holds a thread, and hangingAgain the least time between two.
const (
	maxHanging   = 8
	hangingAgain = time.Minute
)

// under holds what is under way, by operation and path.
var under = struct {
	sync.Mutex
	way map[[2]string]*turn
}{way: map[[2]string]*turn{}}

// turn is one call, and hanging the calls of the same before it that have not ended.
type turn struct {
	since   time.Time
	over    chan struct{}
	hanging int
}

// Do calls f, which does op (a verb) to the file at path, and returns what f does, or an fs.PathError when that takes
// longer than timeout or ctx ends; f then goes on. Calls of the same op and path take turns, and none waits longer for
// the one before than that one may take.
func Do[T any](ctx context.Context, timeout time.Duration, op, path string, f func() (T, error)) (T, error) {
	return do(ctx, timeout, 1, op, path, f)
}

func do[T any](ctx context.Context, timeout time.Duration, most int, op, path string, f func() (T, error)) (T, error) {
	var value, none T
	var err error
	key := [2]string{op, path}
	for {
		under.Lock()
		t, mine := under.way[key], false
		if t == nil || t.hanging+1 < most && time.Since(t.since) >= hangingAgain {
			next := &turn{since: time.Now(), over: make(chan struct{})}
			if t != nil {
				next.hanging = t.hanging + 1
			}
			t, mine = next, true
			under.way[key] = t
			go func() {
				value, err = f()
				under.Lock()
				defer under.Unlock()
				if under.way[key] == t {
					delete(under.way, key)
				}
				close(t.over)
			}()
		}
		under.Unlock()
		select {
		case <-t.over:
			if mine {
				return value, err
			}
		case <-ctx.Done():
			return none, &fs.PathError{Op: op, Path: path, Err: ctx.Err()}
		case <-time.After(timeout - time.Since(t.since)):
			return none, &fs.PathError{Op: op, Path: path, Err: hung(timeout)}
		}
	}
}

// hung is the error of a call that took longer than it may.
type hung time.Duration

func (h hung) Error() string {
	return fmt.Sprintf("it does not come back: waited %v", time.Duration(h))
}

// Timeout makes it one for fs.PathError.
func (hung) Timeout() bool { return true }

// Passing reports whether err is the failure of a file system, not of a file: one that may be over when it is tried again.
func Passing(err error) bool {
	passing := []error{syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || slices.ContainsFunc(passing, func(one error) bool { return errors.Is(err, one) })
}
