package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network is a network namespace, named by the id of a process in it: its ports are nobody else's.
type Network string

// NewNetwork makes one with nothing but loopback. It is gone, with all that was set up in it, when the test ends.
func NewNetwork(t *testing.T) Network {
	t.Helper()
	holder := exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
	out, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		holder.Process.Kill()
		holder.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, len("up\n"))); err != nil {
		t.Fatal("no network: ", err)
	}
	return Network(fmt.Sprint(holder.Process.Pid))
}

// Enter is the start of a command line that runs in it.
func (n Network) Enter() []string {
	return []string{"nsenter", "--target", string(n), "--net", "--"}
}

// do calls f in it.
func (n Network) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := os.Open("/proc/" + string(n) + "/ns/net")
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Listen listens at an address in the network.
func (n Network) Listen(t *testing.T, address string) (l net.Listener) {
	t.Helper()
	err := n.do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(context.WithoutCancel(t.Context()), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Get returns the body of a 200 answer.
func (n Network) Get(ctx context.Context, url string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = n.do(func() error {
				c, err = new(net.Dialer).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s: %s", url, resp.Status, body))
	}
	return string(body), err
}
