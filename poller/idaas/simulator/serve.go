package simulator

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// Serve serves d on a free loopback port until stop is called. It returns the environment variables of an exporter that uses it. ctx is
// for the listener only.
func (d *Demo) Serve(ctx context.Context) (environ []string, stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: d.Handler, ReadHeaderTimeout: time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until it is closed
	}()
	stop = func() {
		d.Handler.Close()
		_ = server.Close()
		<-served
	}
	targets := make([]string, len(d.Targets))
	for i, t := range d.Targets {
		targets[i] = t.Consumer + ":" + t.Provider
	}
	base := "http://" + listener.Addr().String()
	return []string{
		"IDAAS_INSTANCE_ID=" + d.InstanceID,
		"IDAAS_ENDPOINT=" + base,
		"IDAAS_TOKEN_ENDPOINT=" + base + TokenPath,
		"IDAAS_MANAGEMENT_ENDPOINT=" + base,
		"IDAAS_CLIENT_ID=" + d.ClientID,
		"IDAAS_CLIENT_SECRET=" + d.ClientSecret,
		"IDAAS_TARGETS=" + strings.Join(targets, ","),
	}, stop, nil
}
