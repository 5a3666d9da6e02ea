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

// locks has the open lock file of each state file that is reserved for this process. A lock ends with its file or its process.
var locks sync.Map

// lock reserves the state file at path for this process. It returns an error while it is reserved for another one. Where there
// can be no lock it does nothing: other users cannot read the file, and a folder that is not writable fails the write.
func lock(path string) error {
	if _, ok := locks.Load(path); ok {
		return nil
	}
	// Not the state file itself: that is replaced.
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

func unlock(path string) {
	if file, ok := locks.LoadAndDelete(path); ok {
		_ = file.(*os.File).Close()
	}
}

// mountinfo lists the mounts of this process.
var mountinfo = "/proc/self/mountinfo"

// advise adds to err what to do if the state file is mounted by itself: such a file can be neither replaced nor renamed.
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
