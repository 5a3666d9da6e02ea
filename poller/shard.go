package poller

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Share returns those of targets that shard index of count polls: each target belongs to exactly one, by rendezvous
// hashing of its shown labels, so that growth from n to n+1 shards moves about one target in n+1.
func Share(targets []Target, index, count int) []Target {
	if count == 1 {
		return targets
	}
	var share []Target
	for _, t := range targets {
		winner, most := 0, uint64(0)
		for shard := range count {
			sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %q", shard, t.Label, t.Provider))
			if weight := binary.BigEndian.Uint64(sum[:]); weight > most {
				winner, most = shard, weight
			}
		}
		if winner == index {
			share = append(share, t)
		}
	}
	return share
}
