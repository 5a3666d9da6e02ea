package idaas

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// There are many small heaps: frequent garbage collections take a quarter of the time.
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}
