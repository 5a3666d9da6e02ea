package witness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var unixTime = regexp.MustCompile(`\b\d{10}\b`)

// witnessDifferences are the fields in which the exporter's requests differ from those of the vendor's client, each with the
// reason.
var witnessDifferences = map[string]string{
	"token header Accept":                      "the vendor's sends none: ours asks for JSON, as in every other request",
	"token header Accept-Encoding":             "Go's transport undoes gzip by itself",
	"token header User-Agent":                  "each names itself",
	"token assertion life":                     "5 minutes, as the vendor's CLI has it: less time for a stolen one",
	"token assertion jti":                      "random; any text will do",
	"token form client_x509":                   "without the line break at its end, as with every credential",
	"token form client_x509_chain":             "as client_x509",
	"token document end":                       "as client_x509",
	"token document audience":                  "Python's JSON has blanks; that of the vendor's CLI and Java client has none",
	"metadata header Accept-Encoding":          "Go's transport undoes gzip by itself",
	"metadata header Connection":               "one connection each: the next question is minutes away",
	"metadata header User-Agent":               "each names itself",
	"metadata query audience":                  "as the document's",
	"signed header Accept-Encoding":            "Go's transport undoes gzip by itself",
	"signed header User-Agent":                 "each names itself",
	"signed header X-Acs-Credentials-Provider": "tells the vendor where credentials come from; that is nobody's business",
	"list header Accept-Encoding":              "Go's transport undoes gzip by itself",
	"list header User-Agent":                   "each names itself",
	"list query maxResults":                    "1 where a live walk wants nothing but totalCount",
	"list query revoked":                       "Python spells it False; the documents spell it false",
	"list query expired":                       "as revoked",
	"list header Date":                         "the vendor's generic client signs with it; this call is not signed",
	"list header X-Acs-Action":                 "of the generic client, for calls without a path of their own",
	"list header X-Acs-Version":                "as X-Acs-Action: the version is in the path",
	"list header X-Acs-Signature-Method":       "there is no signature",
	"list header X-Acs-Signature-Nonce":        "there is no signature",
	"list header X-Acs-Signature-Version":      "there is no signature",
	"signed header Authorization": "the vendor's signs Accept and User-Agent too, which a proxy may change, " +
		"and X-Acs-Credentials-Provider",
}

// compareRequests holds each of our requests against the one of the vendor's that asks the same.
func (w *witnessed) compare(t *testing.T, theirs, ours []*sentRequest, met map[string]bool) {
	t.Helper()
	for _, r := range ours {
		i := slices.IndexFunc(theirs, func(other *sentRequest) bool { return other.asks() == r.asks() })
		if i < 0 {
			t.Errorf("the vendor's client never asks %s", r.asks())
			continue
		}
		mine, other := w.fields(t, r), w.fields(t, theirs[i])
		all := maps.Clone(mine)
		maps.Copy(all, other)
		for _, field := range slices.Sorted(maps.Keys(all)) {
			name := r.kind() + " " + field
			if mine[field] == other[field] {
				continue
			}
			if met[name] = true; witnessDifferences[name] == "" {
				t.Errorf("%s: ours %q, the vendor's %q", name, mine[field], other[field])
			}
		}
	}
}

func (r *sentRequest) kind() string {
	switch {
	case r.header.Get("X-Acs-Signature-Nonce") != "" && r.path == "/":
		return "signed"
	case strings.HasPrefix(r.path, "/latest/"):
		return "metadata"
	case strings.HasSuffix(r.path, "/token"):
		return "token"
	case strings.HasSuffix(r.path, "/authenticationTokens"):
		return "list"
	}
	return r.path
}

// action is that of a signed call.
func (r *sentRequest) action() string {
	if r.path != "/" {
		return ""
	}
	return r.header.Get("X-Acs-Action")
}

// asks names what the request wants, so that it can be found again among another client's.
func (r *sentRequest) asks() string {
	first := !r.query.Has("nextToken") && !r.query.Has("NextToken")
	return fmt.Sprintf("%s %s %s revoked=%s expired=%s first=%t page=%s", r.method, r.path, r.action(),
		strings.ToLower(r.query.Get("revoked")), strings.ToLower(r.query.Get("expired")), first, r.query.Get("PageNumber"))
}

// fields are all that matters of a request, by name; what is random is there or not.
func (w *witnessed) fields(t *testing.T, r *sentRequest) map[string]string {
	t.Helper()
	fields := map[string]string{"method": r.method, "path": r.path}
	for name := range r.header {
		fields["header "+name] = strings.Join(r.header[name], " | ")
	}
	delete(fields, "header Content-Length")
	if scheme, _, _ := strings.Cut(r.header.Get("Authorization"), " "); scheme == "Bearer" {
		fields["header Authorization"] = scheme
	}
	if signature := r.header.Get("Authorization"); strings.HasPrefix(signature, "ACS3-") {
		fields["header Authorization"], _, _ = strings.Cut(signature, "Signature=")
		date := r.header.Get("X-Acs-Date")
		if at, err := time.Parse(time.RFC3339, date); err != nil || time.Since(at).Abs() > time.Minute || len(date) != 20 {
			t.Errorf("X-Acs-Date is %q", date)
		}
		fields["header X-Acs-Date"], fields["header X-Acs-Signature-Nonce"] = "now", "any text"
	}
	for name, values := range r.query {
		fields["query "+name] = strings.Join(values, " | ")
	}
	for _, name := range []string{"nextToken", "NextToken"} {
		if r.query.Has(name) {
			fields["query "+name] = "the one of the page before"
		}
	}
	for name, values := range r.form {
		fields["form "+name] = strings.Join(values, " | ")
	}
	if text := r.query.Get("audience"); text != "" {
		fields["query audience"] = unixTime.ReplaceAllString(text, "now")
	}
	if document := r.form.Get("client_assertion"); strings.HasSuffix(r.form.Get("client_assertion_type"), "pkcs7-bearer") {
		delete(fields, "form client_assertion")
		fields["document end"] = document[len(strings.TrimSpace(document)):]
		der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(document), ""))
		var content []byte
		if err == nil {
			content, err = w.ecs.Verify(der, time.Now())
		}
		said := map[string]string{}
		if err == nil {
			err = json.Unmarshal(content, &said)
		}
		if err != nil {
			t.Error(err)
		}
		for name, value := range said {
			fields["document "+name] = unixTime.ReplaceAllString(value, "now")
		}
	}
	if assertion := r.form.Get("client_assertion"); strings.HasSuffix(r.form.Get("client_assertion_type"), "jwt-bearer") {
		delete(fields, "form client_assertion")
		parts := strings.Split(assertion, ".")
		claims := map[string]any{}
		for _, part := range parts[:len(parts)-1] {
			text, err := base64.RawURLEncoding.DecodeString(part)
			if err == nil {
				err = json.Unmarshal(text, &claims)
			}
			if err != nil {
				t.Errorf("%v: %s", err, assertion)
			}
		}
		number := func(name string) float64 { n, _ := claims[name].(float64); return n }
		claims["life"] = number("exp") - number("iat")
		for name, value := range claims {
			fields["assertion "+name] = fmt.Sprint(value)
		}
		for _, name := range []string{"iat", "exp"} {
			if at := number(name); at < 1e9 || at > 1e11 {
				t.Errorf("%s is %v", name, at)
			}
			delete(fields, "assertion "+name)
		}
	}
	return fields
}
