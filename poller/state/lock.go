package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// locks has the open lock file of each state file that this process uses. The kernel removes a lock when its process ends.
var locks sync.Map

// lock reserves the state file at path for this process, until it ends. It returns an error if another process has reserved it. It does
// nothing where no lock file can be created: there, writing the state file fails, too.
func lock(path string) error {
	if _, ok := locks.Load(path); ok {
		return nil
	}
	// A write replaces the state file, so a separate file has the lock.
	file, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil
	}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		_ = file.Close()
		return &fs.PathError{Op: "lock", Path: path, Err: errors.New("another process uses this state file; each process needs its own")}
	}
	locks.Store(path, file)
	return nil
}

// mountinfo lists the mounts of this process.
var mountinfo = "/proc/self/mountinfo"

// advise adds advice to err if the state file is mounted as a single file, which can be neither replaced nor renamed.
func advise(path string, err error) error {
	info, statErr := os.Stat(path)
	if err == nil || statErr != nil || !info.Mode().IsRegular() {
		return err
	}
	absolute, _ := filepath.Abs(path)
	mounts, _ := os.ReadFile(mountinfo)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == strings.ReplaceAll(absolute, " ", `\040`) {
			return fmt.Errorf("%w; %s is mounted as a single file and cannot be replaced: mount its folder %s instead",
				err, path, filepath.Dir(absolute))
		}
	}
	return err
}
