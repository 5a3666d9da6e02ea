//go:build race

package simulator

// The race detector makes each token twenty times as dear.
func init() { generatedTokens = 100_000 }
