// Package page serves a snapshot as a status page without scripts, and as JSON.
package page

import (
	"crypto/sha256"
	_ "embed" // the template and its style
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Config of page and JSON.
type Config struct {
	Snapshot     func() *poller.Snapshot
	MaxStaleness time.Duration // age after which a target's numbers are hidden; 0: never
	Version      string
}

var (
	//go:embed page.css
	style string
	//go:embed page.html
	source string

	markup = template.Must(template.New("page").Funcs(functions).Parse(strings.Replace(source, "{{style}}", style, 1)))
	// policy allows only the style above and the empty icon.
	policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; img-src data:; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	digest = sha256.Sum256([]byte(style))
)

// New returns the handlers of the status page and of its JSON.
func New(c Config) (page, api http.Handler) {
	return c.handler(true, showHTML), c.handler(false, showJSON)
}

// handler responds with a view of the snapshot, or with the faults of the query.
func (c Config) handler(page bool, show func(http.ResponseWriter, *view) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		q, err := parse(r.URL.RawQuery, page)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if err = show(w, newView(c, q, time.Now())); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

func showHTML(w http.ResponseWriter, v *view) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.Refresh > 0 {
		w.Header().Set("Refresh", strconv.Itoa(v.Refresh))
	}
	return markup.Execute(w, v)
}

// wholeSeconds writes each time in UTC, without fractions of a second.
var wholeSeconds = json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, t time.Time) error {
	return e.WriteValue(t.UTC().AppendFormat(e.AvailableBuffer(), `"`+time.RFC3339+`"`))
}))

func showJSON(w http.ResponseWriter, v *view) error {
	response := struct {
		Time    time.Time `json:"time"`
		Matched int       `json:"matched"`
		Targets []target  `json:"targets"`
	}{v.Now, len(v.Matched), make([]target, len(v.Rows))}
	for i, r := range v.Rows {
		response.Targets[i] = newTarget(r, v.Now)
	}
	return writeJSON(w, response)
}

func writeJSON(w http.ResponseWriter, response any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.MarshalWrite(w, response, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), wholeSeconds)
}

// unwatched is an application as JSON. Unknown values are absent.
type unwatched struct {
	Consumer string    `json:"consumer"`
	ID       string    `json:"consumer_id,omitzero"`
	Name     string    `json:"name,omitzero"`
	Identity string    `json:"identity,omitzero"`
	Created  time.Time `json:"created,omitzero"`
}

// Unwatched returns the handler of the list of applications that no entry takes.
func Unwatched(snapshot func() *poller.Snapshot) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all := snapshot().Unwatched
		switch {
		case r.URL.RawQuery != "":
			http.Error(w, "unknown parameters; accepted: none", http.StatusBadRequest)
			return
		case all == nil:
			http.Error(w, "no list of the applications: it needs consumers in the targets file, or IDAAS_CONSUMER_LABEL=name", http.StatusNotFound)
			return
		}
		list := make([]unwatched, len(all))
		for i, u := range all {
			list[i] = unwatched{u.Label, u.Identifier, u.Name, u.Type, instant(u.Created)}
		}
		w.Header().Set("Cache-Control", "no-store")
		_ = writeJSON(w, list)
	})
}
