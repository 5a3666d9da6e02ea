package idaas

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// smallPage is the page size after a refusal of the configured one. The vendor's example has it.
	smallPage = 20
	// tryLarger is the time until the configured page size is tried again.
	tryLarger = time.Hour
)

// paging has the page size for requests: the configured one, or smallPage while the API refuses that. It is safe for concurrent use.
type paging struct {
	config *Config

	mu      sync.Mutex
	current int
	retryAt time.Time // if current is not the configured size
}

// get returns the page size for a new walk. At tryLarger, one walk gets the configured one again.
func (p *paging) get() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.current != p.config.PageSize && !now.Before(p.retryAt) {
		p.retryAt = now.Add(tryLarger)
		return p.config.PageSize
	}
	return p.current
}

// set makes later walks use size. refusal is the reason if it is not the configured one.
func (p *paging) set(size int, refusal error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size != p.config.PageSize {
		p.retryAt = time.Now().Add(tryLarger)
	}
	if size == p.current {
		return
	}
	p.current = size
	p.config.Events.PageSize(size)
	if size == p.config.PageSize {
		p.config.Log.Info("page size accepted again", "size", size)
	} else {
		p.config.Log.Warn("page size refused, smaller one used", "refused", p.config.PageSize, "size", size, "for", tryLarger, "error", refusal)
	}
}

// first reads the first page of a walk. A 400 may be a refusal of the page size, or a transient error of a gateway. The page size is
// reduced only if it is refused twice and smallPage is accepted.
func (w *walk) first(ctx context.Context) error {
	sizes := &w.client.pageSize
	err := w.list(ctx)
	if w.size > smallPage && badRequest(err) {
		if err = w.list(ctx); badRequest(err) {
			refused := w.size
			w.size = smallPage
			if w.list(ctx) == nil {
				sizes.set(smallPage, err)
				return nil
			}
			w.size = refused
		}
	}
	if err == nil && w.size == sizes.config.PageSize {
		sizes.set(w.size, nil)
	}
	return err
}

func badRequest(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.status == http.StatusBadRequest && !f.throttled
}
