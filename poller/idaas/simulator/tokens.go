package simulator

import (
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"sort"
	"time"
)

// Form is the encoding of a missing value.
type Form int

// Forms of a missing value: the usual one (expirationTime is absent, revoked is false), absent, null, or 0.
const (
	AsUsual Form = iota
	AsAbsent
	AsNull
	AsZero // of expirationTime only
)

// Token is one authentication token. An empty id or type gets a usual value. A zero time is absent in the response.
type Token struct {
	ID           string // authenticationTokenId, unique in a Server
	ProviderID   string // credentialProviderId, atp_…
	Type         string // "jwt" or "oauth_access_token"
	ConsumerType string // "custom" or "application"
	CreatorType  string
	CreatorID    string
	Created      time.Time // in milliseconds, like the other times
	Updated      time.Time
	Expires      time.Time // zero: never
	Revoked      bool
	ExpiresAs    Form   // of a zero Expires
	RevokedAs    Form   // of Revoked being false
	Extra        string // further JSON members, as `"scope":"a","n":1`
}

// Counts of the tokens of one consumer at one provider. Total is the sum of Active, Expired and Revoked.
type Counts struct {
	Total, Active, Expired, Revoked int
	WithoutExpiration               int // those of Active that never expire
}

// Positions below firstStored belong to generated tokens, the others are sequence numbers of added tokens.
const firstStored = 1 << 40

type pair struct{ consumer, provider string }

type place struct {
	set      *set
	position int64
}

type stored struct {
	position int64
	Token
}

type generated struct {
	n     int
	token func(int) Token
}

// set has the tokens of one pair. Returned slices are never changed within their length.
type set struct {
	generated []generated
	stored    []*stored
	derive    func(now time.Time) []*stored // instead of stored
}

// Add adds tokens at the end of the list of a consumer and provider, which are added, too. A token with an existing ID moves there.
func (s *Server) Add(consumer, provider string, tokens ...Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	into, id := s.set(consumer, provider), providerID(provider)
	for _, t := range tokens {
		s.sequence++
		complete(&t, id, s.sequence)
		s.remove(t.ID)
		into.stored = append(into.stored, &stored{s.sequence, t})
		s.places[t.ID] = place{into, s.sequence}
	}
}

// Generate adds n tokens, token(0) … token(n-1), which are generated for each list and not kept in memory. token must always return the
// same and be safe for concurrent use. Generated tokens are listed before added ones and cannot be changed.
func (s *Server) Generate(consumer, provider string, n int, token func(i int) Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	into := s.set(consumer, provider)
	into.generated = append(into.generated, generated{n, token})
}

// Update changes an added token in its place and reports whether it exists. The change must neither alter the ID nor call the Server.
func (s *Server) Update(id string, change func(*Token)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.places[id]
	if !ok {
		return false
	}
	i := p.set.index(p.position)
	changed := *p.set.stored[i]
	change(&changed.Token)
	p.set.stored = slices.Clone(p.set.stored)
	p.set.stored[i] = &changed
	return true
}

// Revoke revokes an added token and reports whether it exists.
func (s *Server) Revoke(id string) bool {
	return s.Update(id, func(t *Token) { t.Revoked = true })
}

// Reinstate undoes Revoke.
func (s *Server) Reinstate(id string) bool {
	return s.Update(id, func(t *Token) { t.Revoked = false })
}

// Remove deletes an added token and reports whether it existed.
func (s *Server) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(id)
}

func (s *Server) remove(id string) bool {
	p, ok := s.places[id]
	if !ok {
		return false
	}
	delete(s.places, id)
	i := p.set.index(p.position)
	p.set.stored = slices.Concat(p.set.stored[:i], p.set.stored[i+1:])
	return true
}

// Count counts the tokens of a consumer at a provider at a time, independently of the list call.
func (s *Server) Count(consumer, provider string, at time.Time) Counts {
	var c Counts
	for _, t := range s.view(consumer, provider, at).from(0) {
		c.Total++
		switch {
		case t.Revoked:
			c.Revoked++
		case s.expired(t, at):
			c.Expired++
		default:
			c.Active++
			if !expires(t) {
				c.WithoutExpiration++
			}
		}
	}
	return c
}

// Expiring counts the active tokens that expire later than at, and at or before at+within.
func (s *Server) Expiring(consumer, provider string, at time.Time, within time.Duration) int {
	n := 0
	for _, t := range s.view(consumer, provider, at).from(0) {
		if !t.Revoked && expires(t) && !s.expired(t, at) && s.expired(t, at.Add(within)) {
			n++
		}
	}
	return n
}

func (s *Server) set(consumer, provider string) *set {
	if _, known := s.providers[provider]; !known {
		s.providers[provider] = Provider{Identifier: provider, Type: "jwt"}
	}
	key := pair{consumer, provider}
	if s.sets[key] == nil {
		s.sets[key] = &set{}
	}
	return s.sets[key]
}

func (s *set) index(position int64) int {
	return sort.Search(len(s.stored), func(i int) bool { return s.stored[i].position >= position })
}

// view has the tokens of a set at one moment. It needs no lock.
type view struct {
	set
	providerID string
}

func (s *Server) view(consumer, provider string, now time.Time) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{providerID: providerID(provider)}
	if found := s.sets[pair{consumer, provider}]; found != nil {
		v.set = *found
	}
	if v.derive != nil {
		v.stored = v.derive(now)
	}
	return v
}

// from ranges over the tokens at a position and later, in the order of the list. They must not be changed.
func (v view) from(position int64) iter.Seq2[int64, *Token] {
	return func(yield func(int64, *Token) bool) {
		base := int64(0)
		for _, g := range v.generated {
			for i := max(position-base, 0); i < int64(g.n); i++ {
				t := g.token(int(i))
				complete(&t, v.providerID, base+i)
				if !yield(base+i, &t) {
					return
				}
			}
			base += int64(g.n)
		}
		for _, t := range v.stored[v.index(position):] {
			if !yield(t.position, &t.Token) {
				return
			}
		}
	}
}

// generatedCount is the number of generated tokens.
func (v view) generatedCount() int64 {
	n := int64(0)
	for _, g := range v.generated {
		n += int64(g.n)
	}
	return n
}

func complete(t *Token, providerID string, position int64) {
	if t.ID == "" {
		t.ID = fmt.Sprintf("atntkn_%026d", position)
	}
	if t.ProviderID == "" {
		t.ProviderID = providerID
	}
	if t.Type == "" {
		t.Type = "jwt"
	}
	if t.ConsumerType == "" {
		t.ConsumerType = "custom"
	}
	if t.CreatorType == "" {
		t.CreatorType = "application"
	}
	if t.CreatorID == "" {
		t.CreatorID = "app_simulator"
	}
}

func providerID(provider string) string {
	h := fnv.New128a()
	h.Write([]byte(provider))
	return fmt.Sprintf("atp_%x", h.Sum(nil)[:13])
}

func expires(t *Token) bool { return !t.Expires.IsZero() && t.Expires.UnixMilli() > 0 }

// expired compares the time in the response, which has a lower resolution than that of the token.
func (s *Server) expired(t *Token, at time.Time) bool {
	unit := time.Millisecond
	if s.config.Seconds {
		unit = time.Second
	}
	return expires(t) && !t.Expires.Truncate(unit).After(at)
}
