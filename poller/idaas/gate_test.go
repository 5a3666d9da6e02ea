package idaas

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// Requests that have their connection are kept apart, but not for less than a timer is worth: one that was once late by as
// little would have all after it wait twice.
func TestSendsWaitForNoTrifle(t *testing.T) {
	for _, tt := range []struct{ after, want time.Duration }{
		{0, 10 * time.Millisecond}, {8 * time.Millisecond, 2 * time.Millisecond}, {9 * time.Millisecond, 0}, {9500 * time.Microsecond, 0}, {20 * time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &gate{sends: rate.NewLimiter(100, 1), waited: func(string, time.Duration) {}}
			g.send(t.Context())
			time.Sleep(tt.after)
			start := time.Now()
			g.send(t.Context())
			if got := time.Since(start).Round(time.Microsecond); got != tt.want {
				t.Errorf("%v after the one before: waited %v, want %v", tt.after, got, tt.want)
			}
		})
	}
}
