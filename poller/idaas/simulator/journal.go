package simulator

import "time"

// Request is one request a Server got.
type Request struct {
	Operation   string // List, Access, Discovery, or "unknown"
	Time        time.Time
	Consumer    string // of a list call
	Provider    string
	Page        int    // 1-based page of the walk; 0 when its nextToken is not valid
	AccessToken string // the bearer token it came with
	Query       string // as sent
	UserAgent   string
	Status      int // 0: not answered yet, or never
}

const journalSize = 10_000

type journal struct {
	counts  map[string]int
	expired int
	total   int
	ring    []Request
}

// Requests returns how many requests of an operation came in so far, answered or not; "" counts all.
func (s *Server) Requests(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if operation == "" {
		return s.requests.total
	}
	return s.requests.counts[operation]
}

// ExpiredTokenRequests returns how many list calls came with an access token of this server that had expired.
func (s *Server) ExpiredTokenRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.expired
}

// Log returns a copy of the last 10,000 requests, in the order they came in.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &s.requests
	oldest := 0
	if len(j.ring) == journalSize {
		oldest = j.total % journalSize
	}
	return append(append(make([]Request, 0, len(j.ring)), j.ring[oldest:]...), j.ring[:oldest]...)
}

// record returns the number under which the request's status can be added.
func (s *Server) record(r Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &s.requests
	number := j.total
	j.total++
	j.counts[r.Operation]++
	if len(j.ring) < journalSize {
		j.ring = append(j.ring, r)
	} else {
		j.ring[number%journalSize] = r
	}
	return number
}

func (s *Server) recordStatus(number, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := &s.requests; j.total-number <= journalSize {
		j.ring[number%journalSize].Status = status
	}
}
