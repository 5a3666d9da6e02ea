//go:build race

package idaas

// With the race detector, append(nil, make([]byte, n)...) allocates twice. A bytes.Buffer grows by it.
func init() { copies = 2 }
