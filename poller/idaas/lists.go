package idaas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// maxListed is the maximum number of applications in a list.
const maxListed = 100_000

// Providers returns the enabled credential providers of the instance, each once, in order. Those that cannot be watched have a
// Problem. A list that may be incomplete is an error.
func (c *Client) Providers(ctx context.Context) ([]poller.Listed, error) {
	query, seen := url.Values{"MaxResults": {"100"}}, map[string]bool{} // of any status, because TotalCount may include all
	return c.list(ctx, "ListCredentialProviders", query, func(l *list) (bool, error) {
		switch next := l.page.NextToken; {
		case next == "" && len(l.listed) < l.total:
			return false, fail(poller.Malformed, "%s: the list ends after %d of %d providers", l.what, len(l.listed), l.total)
		case next == "":
			return false, nil
		case seen[next], l.number == maxEmpty:
			return false, fail(poller.Loop, "%s: its NextToken was returned before, or the list has over %d pages", l.what, maxEmpty)
		}
		seen[l.page.NextToken] = true
		query.Set("NextToken", l.page.NextToken)
		return true, nil
	})
}

// Applications returns the enabled M2M applications of the instance as Providers does. A list that changes while it is read is
// read again, up to three times in all.
func (c *Client) Applications(ctx context.Context) ([]poller.Listed, error) {
	for size, times := 100, 1; ; times++ {
		query := url.Values{
			"Status": {"enabled"}, "M2MClientStatus": {"enabled"}, "ApplicationIdentityType": {"all"}, "ApplicationCreationType": {"all"},
			"PageNumber": {"1"}, "PageSize": {strconv.Itoa(size)},
		}
		found, err := c.list(ctx, "ListApplications", query, func(l *list) (bool, error) {
			switch {
			case l.page.TotalCount == nil:
				return false, fail(poller.Malformed, "%s: no TotalCount", l.what)
			case len(l.listed) == l.total:
				return false, nil
			case l.fresh == 0 || len(l.listed) > l.total || l.number*size >= maxListed:
				return false, fail(poller.Malformed, "%s: TotalCount is %d, but %d applications were listed", l.what, l.total, len(l.listed))
			}
			query.Set("PageNumber", strconv.Itoa(l.number+1))
			return true, nil
		})
		switch {
		case size != smallPage && badRequest(err):
			size, times = smallPage, 0
		case err == nil || times == 3 || poller.ReasonOf(err) != poller.Malformed:
			return found, err
		}
	}
}

// listPage is a page of either list, with the fields used.
type listPage struct {
	CredentialProviders, Applications []wireItem
	NextToken                         string
	TotalCount                        *int
	Code, Message                     string // of an error object
}

// wireItem is a credential provider or an application.
type wireItem struct {
	Provider   string `json:"CredentialProviderIdentifier"`
	Type       string `json:"CredentialProviderType"`
	ID         string `json:"ApplicationId"`
	Name       string `json:"ApplicationName"`
	Identity   string `json:"ApplicationIdentityType"`
	Status     string
	CreateTime int64
}

// list is a list that is being read.
type list struct {
	what   string // the page, in errors
	number int    // of the page, from 1
	page   listPage
	items  []wireItem      // of page
	total  int             // -1: unknown
	listed map[string]bool // of any status
	fresh  int             // number of those that only the latest page has
	known  map[string]poller.Listed
}

// list reads a list of the management API. more reports whether there is another page, and sets query to it.
func (c *Client) list(ctx context.Context, action string, query url.Values, more func(*list) (bool, error)) ([]poller.Listed, error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return nil, err
	}
	what := map[string]string{"ListCredentialProviders": "credential providers", "ListApplications": "applications"}[action]
	l := &list{total: -1, listed: map[string]bool{}, known: map[string]poller.Listed{}}
	for l.number = 1; ; l.number++ {
		l.what = fmt.Sprintf("%s, page %d", what, l.number)
		call := &call{operation: OpDiscovery, what: l.what, retries: c.config.Retries, decode: l.decode}
		call.build = func(ctx context.Context) (*http.Request, error) { return c.manage(ctx, call, at, action, query) }
		if err := c.do(ctx, call, new(bytes.Buffer)); err != nil {
			return nil, err
		}
		l.add()
		if again, err := more(l); err != nil {
			return nil, err
		} else if !again {
			return poller.Belief{Known: l.known}.Items(), nil
		}
	}
}

// decode decodes a page.
func (l *list) decode(body []byte) error {
	page := listPage{}
	if err := json.Unmarshal(body, &page); err != nil {
		return err
	}
	items := append(page.CredentialProviders, page.Applications...)
	switch {
	case len(items) == 0 && page.Code != "":
		return fmt.Errorf("error %s: %s instead of a list", page.Code, page.Message)
	case page.CredentialProviders == nil && page.Applications == nil && (page.TotalCount == nil || *page.TotalCount != 0):
		return errors.New("neither a list nor a TotalCount of 0")
	case page.TotalCount != nil && l.total >= 0 && l.total != *page.TotalCount:
		return fmt.Errorf("TotalCount %d, but %d on the earlier pages", *page.TotalCount, l.total)
	case slices.ContainsFunc(items, func(w wireItem) bool { return w.Provider+w.ID == "" }):
		return errors.New("an item without a CredentialProviderIdentifier or ApplicationId")
	}
	l.page, l.items = page, items
	return nil
}

// add adds the items of the page.
func (l *list) add() {
	before := len(l.listed)
	for _, w := range l.items {
		item := poller.Listed{Identifier: w.Provider + w.ID, Type: w.Type + w.Identity, Name: w.Name, Created: w.CreateTime}
		if l.listed[item.Identifier] = true; w.Status == "disabled" || w.Status == "deleted" {
			continue
		}
		problem := poller.CheckText(item.Identifier)
		if w.Provider != "" {
			problem = poller.CheckIdentifier(item.Identifier)
		}
		switch {
		case problem != nil:
		case w.Type != "" && !slices.Contains(poller.ProviderTypes, w.Type):
			problem = fmt.Errorf("unknown CredentialProviderType %q; known: %s", w.Type, strings.Join(poller.ProviderTypes, ", "))
		case w.Status != "enabled":
			problem = fmt.Errorf("unknown Status %q; known: enabled, disabled", w.Status)
		}
		if problem != nil {
			item.Problem = problem.Error()
		}
		l.known[item.Identifier] = item
	}
	if l.fresh = len(l.listed) - before; l.page.TotalCount != nil {
		l.total = *l.page.TotalCount
	}
}
