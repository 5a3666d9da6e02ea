// Package disk limits how long a file operation blocks its caller and how much of a file is read: a pipe may have no writer, a network
// file system may be gone, and a device may be endless.
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

const (
	readTimeout  = 5 * time.Second
	maxHanging   = 8           // reads of a path that hang; each holds a thread
	retryHanging = time.Minute // from the start of a read that hangs to the next of the same path
)

// Read returns the text in the file at path, at most limit bytes, without a byte order mark at its start. It returns within 5 s, or
// when ctx ends. While a read hangs, another one is started every minute, since the path may lead to a good file again. Errors are
// an fs.PathError.
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

// inFlight has the latest call of each operation and path, until it returns.
var inFlight = struct {
	sync.Mutex
	calls map[[2]string]call
}{calls: map[[2]string]call{}}

type call struct {
	start  time.Time
	done   chan struct{}
	number int // of calls in flight of the same operation and path, this one included
}

// Do calls f, which does op (a verb) to the file at path, and returns its result, or an fs.PathError after timeout or when ctx ends; f
// then continues. Calls of the same op and path run one after the other; a call waits for the one before at most the timeout of that.
func Do[T any](ctx context.Context, timeout time.Duration, op, path string, f func() (T, error)) (T, error) {
	return do(ctx, timeout, 1, op, path, f)
}

func do[T any](ctx context.Context, timeout time.Duration, limit int, op, path string, f func() (T, error)) (T, error) {
	var value, none T
	var err error
	key := [2]string{op, path}
	for {
		inFlight.Lock()
		c, mine := inFlight.calls[key], false
		if c.number == 0 || c.number < limit && time.Since(c.start) >= retryHanging {
			c, mine = call{time.Now(), make(chan struct{}), c.number + 1}, true
			inFlight.calls[key] = c
			go func() {
				value, err = f()
				inFlight.Lock()
				defer inFlight.Unlock()
				if inFlight.calls[key] == c {
					delete(inFlight.calls, key)
				}
				close(c.done)
			}()
		}
		inFlight.Unlock()
		select {
		case <-c.done:
			if mine {
				return value, err
			}
		case <-ctx.Done():
			return none, &fs.PathError{Op: op, Path: path, Err: ctx.Err()}
		case <-time.After(timeout - time.Since(c.start)):
			return none, &fs.PathError{Op: op, Path: path, Err: timeoutError(timeout)}
		}
	}
}

type timeoutError time.Duration

func (e timeoutError) Error() string { return fmt.Sprintf("timed out after %v", time.Duration(e)) }
func (timeoutError) Timeout() bool   { return true }

// Transient reports whether err is the failure of a file system, not of a file, and may be over at the next try.
func Transient(err error) bool {
	transient := []error{syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || slices.ContainsFunc(transient, func(e error) bool { return errors.Is(err, e) })
}
