package idaas

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const maxText = 200

// fit fails unless a text can be shown: one line, printable, bounded.
func fit(t *testing.T, text string) {
	t.Helper()
	n := utf8.RuneCountInString(text)
	if !utf8.ValidString(text) || n > maxText+1 || n == maxText+1 && !strings.HasSuffix(text, "…") || text != strings.TrimSpace(text) ||
		strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d characters not fit to be shown: %q", n, text)
	}
}

func FuzzDecodePage(f *testing.F) {
	f.Add(vendorExample(f))
	for _, seed := range []string{
		"", "null", "{}", "[]", `{"entities":[]}`, `{"totalCount":0}`, `{"entities":null,"totalCount":0,"nextToken":"n"}`,
		`{"entities":[],"entities":[]}`,
		`{"entities":[{"authenticationTokenId":"a","revoked":true,"expirationTime":-1,"createTime":1,` +
			`"updateTime":9223372036854775807}],"totalCount":-5}`,
		`{"entities":[{"authenticationTokenId":"a","credentialProviderId":"\u0000\u2028é"},{"authenticationTokenId":"a"}],` +
			`"totalCount":9223372036854775807}`,
		`{"entities":[{"authenticationTokenId":"\ud800"}]}`, `{"entities":[[[[[]]]]]}`, `{"entities":[{}]} x`, "\xef\xbb\xbf{}",
		"{\"entities\":[],\"\xff\":1}",
		`{"code":"Throttling","message":"x"}`, `<html>`, `{"entities":[{"authenticationTokenId":"a","expirationTime":1e3}]}`,
		`{"entities":[{"authenticationTokenId":"a","unknown":922337203685e775807,"authenticationTokenType":" jwt","consumerType":"\u2003"}]}`,
		`{"entities":[{"authenticationTokenId":"a","ExpirationTime":1}]}`, `{"entities":[],"next_token":"n"}`,
		`{"entities":[{"authenticationTokenId":"a","expirationTime":253402300799}]}`,
		// Names in other spellings, with letters that fold to the right ones, or with escapes.
		`{"entities":[{"authentication\u0054okenId":"a","expiration-Time":1}]}`, `{"entitie\u0073":[],"to-tal_Count":1}`,
		`{"entities":[{"authenticationTo\u212aenId":"a"}]}`,
		`{"entities":[{"authenticationTokenId":"a","revoked":null,"error":1,"entities":1}],"revoked":1,"\u0065rror":"x"}`,
		`{"entities":[],"totalCount":-0}`, `{"entities":[],"totalCount":-01}`,
		`{"entities":[{"authenticationTokenId":"a","createTime":-9223372036854775808,"updateTime":-9223372036854775809}]}`, `{"entities":[],}`,
		`{"entities":[{"authenticationTokenId":"a"},]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sameAsByStructs(t, body)
		before := []poller.Token{{ID: "before"}}
		page, next, err := decodePage(body, before)
		if err != nil {
			if len(page.Tokens) != 0 || next != "" {
				t.Errorf("%v, and yet a page: %+v", err, page)
			}
			fit(t, poller.Scrubber{}.Clean(err.Error()))
			return
		}
		if page.Total < -1 || !utf8.ValidString(next) {
			t.Errorf("total %d, next %q", page.Total, next)
		}
		// An independent, laxer decoder must decode the same from what ours accepts.
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(body, &whole); err != nil {
			t.Fatalf("accepted what is no JSON object: %v", err)
		}
		var entities []map[string]any
		if raw, ok := whole["entities"]; ok {
			read := json.NewDecoder(bytes.NewReader(raw))
			read.UseNumber() // Unknown fields may have numbers of any size.
			if err := read.Decode(&entities); err != nil {
				t.Fatalf("accepted entities that are no list of objects: %v", err)
			}
		}
		if len(page.Tokens) != 1+len(entities) || page.Tokens[0].ID != "before" {
			t.Fatalf("%d tokens of %d entities", len(page.Tokens)-1, len(entities))
		}
		for i, token := range page.Tokens[1:] {
			if token.ID == "" || token.ID != entities[i]["authenticationTokenId"] || token.Revoked != (entities[i]["revoked"] == true) ||
				token.Expires < 0 || token.Created < 0 || token.Updated < 0 {
				t.Errorf("%+v of %v", token, entities[i])
			}
			for _, text := range []string{token.Info.ProviderID, token.Info.TokenType, token.Info.ConsumerType} {
				fit(t, text)
			}
		}
		again, _, _ := decodePage(body, before[:1:1])
		if !reflect.DeepEqual(again, page) {
			t.Errorf("once %+v, then %+v", page, again)
		}
	})
}

func FuzzParseError(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", "[]", `{"error":"invalid_client","error_description":"d","request_id":"r"}`, `{"Code":"Throttling.User","Message":"m"}`,
		`{"code":1,"message":{},"requestId":[]}`, `{"error":"a\nb\u0000","error":"twice"}`, "{\"error\":\"\xff\"}",
		strings.Repeat(`{"error":`, 300), `{"error":"` + strings.Repeat("é", 300) + `"}`,
		"Throttling.User: slow down", "<html>", `{"Code":"?Throttling.User","Message":"m"}`, `{"Code":"Busy","Message":"see Throttling.Api"}`,
		`{"Code":"NoThrottling","Message":"Throttlings, Throttling_"}`,
	} {
		f.Add([]byte(seed), 403, "s3cret")
	}
	f.Fuzz(func(t *testing.T, body []byte, status int, secret string) {
		said := parseError(body)
		if len(said.code)+len(said.message)+len(said.requestID) > 3*len(body)+9 {
			t.Errorf("%+v is more than was said", said)
		}
		notInWord := func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
		}
		if want := slices.Contains(strings.FieldsFunc(said.code+" "+said.message, notInWord), "Throttling"); said.throttling() != want {
			t.Errorf("%+v says slow down: %v, want %v", said, !want, want)
		}
		hide := poller.Scrubber{}.Hide(secret, "[secret]")
		fit(t, hide.Clean(said.String()))
		fit(t, hide.Clean(said.requestID))
		if f := (&call{what: "page 1", hide: hide}).refused(status, said); !strings.HasPrefix(f.Error(), "page 1: ") ||
			strings.ContainsAny(f.Error(), "\r\n") || len(f.Error()) > 8*maxText+200 {
			t.Errorf("%q", f.Error())
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	const date = "Sun, 01 Mar 2026 12:00:00 GMT"
	f.Add("7", "Limit:1,Remain:0,TimeLeft:2000,Reset:1234", "", date)
	f.Add("Sun, 01 Mar 2026 12:00:30 GMT", "", "TimeLeft:5", date)
	f.Add("Sunday, 01-Mar-26 12:00:30 GMT", "timeleft:-1", "TimeLeft", "")
	f.Add("Sun Mar  1 12:00:30 2026", ":,:,", "TimeLeft:99999999999999999999", "x")
	f.Add("-99999999999999999999", "TimeLeft:2147483648", "TimeLeft:1,TimeLeft:2", date)
	f.Add("Mon, 01 Jan 0001 00:00:00 GMT", "", "", "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add("Fri, 31 Dec 9999 23:59:59 GMT", "", "", "Mon, 01 Jan 0001 00:00:00 GMT")
	f.Fuzz(func(t *testing.T, after, user, api, date string) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		header := func(after, user, api string) http.Header {
			return http.Header{"Retry-After": {after}, "X-Ratelimit-User": {user}, "X-Ratelimit-User-Api": {api}, "Date": {date}}
		}
		all := retryAfter(header(after, user, api), now)
		if want := max(
			retryAfter(header(after, "", ""), now), retryAfter(header("", user, ""), now), retryAfter(header("", "", api), now),
		); all != want || all < 0 {
			t.Errorf("%v of all, %v of the largest", all, want)
		}
	})
}

func FuzzDecodeToken(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", `{"access_token":"abc","expires_in":1200,"scope":"s"}`, `{"access_token":"abc","expires_in":9223372036854775807}`,
		`{"access_token":"abc","expires_in":-1}`,
		`{"access_token":"a b"}`, `{"access_token":"a\u000d\u000ab"}`, `{"access_token":"é"}`, `{"access_token":1}`, `{"access_token":"a"} x`,
		`{"access_token":"eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.x"}`, `{"access_token":"eyJhbGciOiJub25lIn0.eyJleHAiOjFlMzA4fQ."}`,
		`{"access_token":"..","expires_in":1}`,
		`{"access_token":"abc","expires_in":"1.2e3","scope":["a","b"]}`, `{"access_token":"abc","expires_in":1e-9}`,
		`{"access_token":"abc","expires_in":"Inf"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		token, lease, err := decodeToken(body, sent)
		if err != nil {
			if token.text != "" {
				t.Errorf("%v, and yet a token", err)
			}
			fit(t, poller.Scrubber{}.Clean(err.Error()))
			return
		}
		if token.text == "" || strings.ContainsFunc(token.text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q cannot be sent", token.text)
		}
		if !token.until.Equal(lease.until) || token.expires.IsZero() != lease.until.IsZero() || token.expires.IsZero() != lease.renew.IsZero() {
			t.Errorf("%+v, %+v", token, lease)
		}
		if !token.expires.IsZero() && (!sent.Before(lease.renew) || !lease.renew.Before(lease.until) || !lease.until.Before(token.expires)) {
			t.Errorf("sent, renewed, used until, expired: %v, %v, %v, %v", sent, lease.renew, lease.until, token.expires)
		}
		// A ready token would be parsed as a JWT.
		_ = jwtExpiration(token.text)
	})
}
