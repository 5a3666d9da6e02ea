// Package sighup makes the process that imports it ignore SIGHUP from its start: this package has few imports, so it is
// initialized before the packages that take longer.
package sighup

import (
	"os/signal"
	"syscall"
)

// An ignored reload request is not lost: the first poll reads the targets anyway.
func init() { signal.Ignore(syscall.SIGHUP) }
