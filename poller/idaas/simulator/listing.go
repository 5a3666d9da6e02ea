package simulator

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Provider is a credential provider in ListCredentialProviders.
type Provider struct {
	Identifier string
	Type       string // "jwt", or "oauth"; empty: jwt
	Disabled   bool
}

// Application is an application in ListApplications.
type Application struct {
	ID       string
	Name     string
	Identity string    // "application", or "agent"; empty: application
	Created  time.Time // not listed before; zero: when it was set first
	Disabled bool
	NoM2M    bool // not an M2M client
}

// SetProvider adds or changes a provider. Add adds providers that are enabled and of the type jwt.
func (s *Server) SetProvider(p Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Type = cmp.Or(p.Type, "jwt")
	s.providers[p.Identifier] = p
}

// RemoveProvider removes a provider.
func (s *Server) RemoveProvider(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.providers, identifier)
}

// SetApplication creates an application, or changes it.
func (s *Server) SetApplication(a Application) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Identity = cmp.Or(a.Identity, "application")
	a.Created = cmp.Or(a.Created, s.applications[a.ID].Created, s.config.Now())
	s.applications[a.ID] = a
}

// RemoveApplication deletes an application.
func (s *Server) RemoveApplication(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.applications, id)
}

// listing is a page of a list of the management API.
type listing struct {
	name       string // of the JSON member
	ids        []string
	items      map[string]func(*encoder)
	from, size int
	cursor     bool // its pages have a NextToken
}

const maxListing = 100 // on a page

// page returns a page of the listing; size is the parameter that has the number of its items.
func (s *Server) listed(l listing, query url.Values, size string) answer {
	var err error
	l.size, err = strconv.Atoi(cmp.Or(query.Get(size), strconv.Itoa(defaultPageSize)))
	if err != nil || l.size < 1 || l.size > min(maxListing, s.config.MaxPageSize) {
		return *gateway(http.StatusBadRequest, "InvalidParameter."+size, "The specified parameter "+size+" is not valid.")
	}
	if !l.cursor {
		number, err := strconv.Atoi(cmp.Or(query.Get("PageNumber"), "1"))
		if err != nil || number < 1 {
			return *gateway(http.StatusBadRequest, "InvalidParameter.PageNumber", "The specified parameter PageNumber is not valid.")
		}
		l.from = (number - 1) * l.size
	}
	return answer{status: http.StatusOK, key: l.name, listing: &l, encode: func(e *encoder) {
		list := encoder{alteration: e.alteration, buf: []byte("[")}
		from := min(l.from, len(l.ids))
		to := min(from+l.size, len(l.ids))
		for _, id := range l.ids[from:to] {
			list.open()
			list.text("InstanceId", s.config.InstanceID)
			l.items[id](&list)
			list.end()
		}
		e.open()
		e.text("RequestId", e.requestID)
		e.raw(l.name, string(append(list.buf, ']')))
		e.int("TotalCount", int64(len(l.ids)))
		if l.cursor {
			e.int("MaxResults", int64(l.size))
			if to < len(l.ids) {
				e.text("NextToken", base64.RawURLEncoding.EncodeToString([]byte(l.ids[to-1])))
			}
		}
		e.end()
	}}
}

func (s *Server) listCredentialProviders(_ *http.Request, query url.Values) answer {
	statuses, types := listOf(query, "Statuses"), listOf(query, "CredentialProviderTypes")
	after, err := base64.RawURLEncoding.DecodeString(query.Get("NextToken"))
	if err != nil {
		return *gateway(http.StatusBadRequest, "InvalidParameter.NextToken", "The specified parameter NextToken is not valid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := listing{name: "CredentialProviders", items: map[string]func(*encoder){}, cursor: true}
	for _, identifier := range slices.Sorted(maps.Keys(s.providers)) {
		p := s.providers[identifier]
		status := status(p.Disabled)
		if statuses != nil && !slices.Contains(statuses, status) || types != nil && !slices.Contains(types, p.Type) {
			continue
		}
		l.ids = append(l.ids, identifier)
		if identifier <= string(after) {
			l.from++
		}
		l.items[identifier] = func(e *encoder) {
			e.text("CredentialProviderId", providerID(p.Identifier))
			e.text("CredentialProviderIdentifier", p.Identifier)
			e.text("CredentialProviderName", p.Identifier)
			e.text("CredentialProviderType", p.Type)
			e.text("CredentialProviderCreationType", "user_custom")
			e.text("Status", status)
		}
	}
	return s.listed(l, query, "MaxResults")
}

func (s *Server) listApplications(_ *http.Request, query url.Values) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := listing{name: "Applications", items: map[string]func(*encoder){}}
	all := slices.SortedFunc(maps.Values(s.applications), func(a, b Application) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	for _, a := range all {
		if a.Created.After(s.config.Now()) {
			continue
		}
		status, client := status(a.Disabled), status(a.NoM2M)
		identity := cmp.Or(query.Get("ApplicationIdentityType"), "application")
		if cmp.Or(query.Get("Status"), status) != status || cmp.Or(query.Get("M2MClientStatus"), client) != client ||
			identity != "all" && identity != a.Identity {
			continue
		}
		features := []string{"m2m_client"}
		if a.NoM2M {
			features = []string{"sso"}
		}
		text, _ := json.Marshal(features)
		l.ids = append(l.ids, a.ID)
		l.items[a.ID] = func(e *encoder) {
			e.text("ApplicationId", a.ID)
			e.text("ClientId", a.ID)
			e.text("ApplicationName", a.Name)
			e.text("Status", status)
			e.text("ApplicationIdentityType", a.Identity)
			e.text("ApplicationCreationType", "user_custom")
			e.text("Features", string(text))
			e.text("SsoType", "oauth2/m2m")
			e.time("CreateTime", a.Created)
			e.time("UpdateTime", a.Created)
		}
	}
	return s.listed(l, query, "PageSize")
}

func status(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}
