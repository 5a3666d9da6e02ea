// Command saver saves states to a file, one after the other, until it is killed. With a second argument it keeps one.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/state"
)

func main() {
	f := state.File{Path: os.Args[1], Instance: "i"}
	if len(os.Args) > 2 {
		s := &poller.Snapshot{Readings: []*poller.Reading{reading("a", 1000), reading("b", 2000)}}
		f.Keep(context.Background(), func() *poller.Snapshot { return s }, func(error) { fmt.Print("saved") }, slog.Default())
	}
	for n := 0; ; n++ {
		if err := f.Save(&poller.Snapshot{Readings: []*poller.Reading{reading("a", 1000+n%100), reading("b", 2000)}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if n == 0 {
			fmt.Print("saved")
		}
	}
}

func reading(consumer string, tokens int) *poller.Reading {
	c := &poller.Census{Expirations: make([]int64, tokens), ReadAt: time.Now(), Reported: -1}
	for i := range c.Expirations {
		c.Expirations[i] = time.Now().UnixMilli() + int64(i*i)
	}
	return &poller.Reading{Target: poller.Target{Consumer: consumer, Provider: "p"}, Census: c}
}
