package simulator

import "time"

// Request is a request that a Server received.
type Request struct {
	Operation   string // List, Access, Discovery, or "unknown"
	Time        time.Time
	Consumer    string // of a list call
	Provider    string
	Page        int    // 1-based page of the walk; 0 if its nextToken is not valid
	AccessToken string // the bearer token
	Query       string // as sent
	UserAgent   string
	Status      int // 0: no response yet, or none
}

const journalSize = 10_000

type journal struct {
	counts  map[string]int
	expired int
	total   int
	ring    []Request
}

// Requests returns the number of received requests of an operation; of all for "".
func (s *Server) Requests(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if operation == "" {
		return s.requests.total
	}
	return s.requests.counts[operation]
}

// ExpiredTokenRequests returns the number of list calls with an expired access token of this server.
func (s *Server) ExpiredTokenRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.expired
}

// Log returns a copy of the last 10,000 requests, in the order of arrival.
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

// record adds a request and returns its number, for recordStatus.
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
