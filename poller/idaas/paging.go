package idaas

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// smallPage is the page size that an API which refuses ours is asked for: the one in the vendor's example.
	smallPage = 20
	// tryLarger is how long it is kept until the larger one is tried again.
	tryLarger = time.Hour
)

// paging is how many tokens a page is asked for: as configured, or fewer while the API refuses that. It is safe for
// concurrent use.
type paging struct {
	configured int
	changed    func(size int)
	log        *slog.Logger

	mu      sync.Mutex
	current int
	retryAt time.Time // while current is not the one configured
}

func newPaging(configured int, changed func(int), log *slog.Logger) *paging {
	changed(configured)
	return &paging{configured: configured, current: configured, changed: changed, log: log}
}

// get returns the size to begin a walk with. One walk at a time tries a larger one again.
func (p *paging) get() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.current != p.configured && !now.Before(p.retryAt) {
		p.retryAt = now.Add(tryLarger)
		return p.configured
	}
	return p.current
}

// settle takes size for later walks; refusal says why it is not the one configured.
func (p *paging) settle(size int, refusal error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size != p.configured {
		p.retryAt = time.Now().Add(tryLarger)
	}
	if size == p.current {
		return
	}
	p.current = size
	p.changed(size)
	if size == p.configured {
		p.log.Info("page size taken again", "size", size)
	} else {
		p.log.Warn("page size refused, using a smaller one", "refused", p.configured, "size", size, "for", tryLarger, "error", refusal)
	}
}

// first reads a walk's first page. A 400 may be about the page size, but may as well be a gateway's mood: only a size
// that is refused twice, where the small one is taken, is left.
func (w *walk) first(ctx context.Context) error {
	sizes := w.client.pageSize
	err := w.list(ctx)
	if w.size > smallPage && badRequest(err) {
		if err = w.list(ctx); badRequest(err) {
			refused := w.size
			w.size = smallPage
			if w.list(ctx) == nil {
				sizes.settle(smallPage, err)
				return nil
			}
			w.size = refused
		}
	}
	if err == nil && w.size == sizes.configured {
		sizes.settle(w.size, nil)
	}
	return err
}

func badRequest(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.status == http.StatusBadRequest && !f.throttled
}
