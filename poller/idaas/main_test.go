package idaas

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Many small heaps of short life: collecting them often is a quarter of the time.
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}
