// Package hangup keeps SIGHUP from ending the process that imports it, from its first moment on: importing next to nothing,
// it is initialized before the packages that take their time.
package hangup

import (
	"os/signal"
	"syscall"
)

// A reload that is asked for so early comes with the first poll.
func init() { signal.Ignore(syscall.SIGHUP) }
