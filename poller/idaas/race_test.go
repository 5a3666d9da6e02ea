//go:build race

package idaas

// The race detector has no use of append(nil, make([]byte, n)...) as one step, which is how a bytes.Buffer grows.
func init() { copies = 2 }
