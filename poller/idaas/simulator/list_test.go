package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEntity(t *testing.T) {
	f := start(t, Config{})
	f.Add("c\"é", "p", Token{
		ID: "atntkn_1", ProviderID: "atp_1", Created: epoch, Updated: epoch, Expires: epoch.Add(1500 * time.Microsecond),
	})
	f.Add("forms", "p",
		Token{ID: "absent", RevokedAs: AsAbsent},
		Token{ID: "null", ExpiresAs: AsNull, RevokedAs: AsNull},
		Token{ID: "zero", ExpiresAs: AsZero, Revoked: true, Extra: `"scope":"x","n":1`})
	token := f.accessToken()
	body := f.list(t.Context(), token, listQuery("consumerId", "c\"é")).body
	// The twelve members of an entity in the vendor's example, in its order.
	want := fmt.Sprintf(`{"entities":[{"instanceId":"idaas_simulator","authenticationTokenId":"atntkn_1","credentialProviderId":"atp_1",`+
		`"createTime":%d,"updateTime":%d,"authenticationTokenType":"jwt","revoked":false,"creatorType":"application",`+
		`"creatorId":"app_simulator",`+
		`"consumerType":"custom","consumerId":"c\"é","expirationTime":%d}],"totalCount":1,"maxResults":20}`,
		epoch.UnixMilli(), epoch.UnixMilli(), epoch.UnixMilli()+1)
	if body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	body = f.list(t.Context(), token, listQuery("consumerId", "forms")).body
	var page struct {
		Entities []map[string]json.RawMessage `json:"entities"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for i, want := range []string{"", "null null", "0 true"} {
		e := page.Entities[i]
		if got := strings.TrimSpace(string(e["expirationTime"]) + " " + string(e["revoked"])); got != want {
			t.Errorf("%s: %q, want %q", e["authenticationTokenId"], got, want)
		}
	}
	if string(page.Entities[2]["scope"]) != `"x"` {
		t.Errorf("no extra member: %s", body)
	}

	f = start(t, Config{Seconds: true, OmitTotalCount: true})
	f.Add("c", "p", Token{Expires: epoch.Add(time.Second - 1)})
	body = f.list(t.Context(), f.accessToken(), listQuery("expired", "true")).body
	if strings.Contains(body, "totalCount") || !strings.Contains(body, fmt.Sprintf(`"expirationTime":%d}`, epoch.Unix())) {
		t.Errorf("seconds: %s", body)
	}
}

func TestListRefusals(t *testing.T) {
	f := start(t, Config{})
	f.Add("c", "p", numbered(3)...)
	f.Add("c", "empty")
	token := f.accessToken()
	first := f.page(token, listQuery("maxResults", "1"))
	next := *first.Next
	for query, want := range map[string]string{
		"consumerId=c&credentialProviderIdentifier=p":                                              "200",
		"consumerId=nobody&credentialProviderIdentifier=p":                                         "200",
		"consumerId=c&credentialProviderIdentifier=empty":                                          "200",
		"consumerId=c&credentialProviderIdentifier=unknown":                                        "404 credential_provider_not_found",
		"credentialProviderIdentifier=p":                                                           "400 invalid_parameter",
		"consumerId=c":                                                                             "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&maxResults=0":                                 "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&maxResults=":                                  "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&maxResults=101":                               "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&maxResults=x":                                 "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&revoked=maybe":                                "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&expired=1":                                    "400 invalid_parameter",
		"consumerId=c&credentialProviderIdentifier=p&revoked=True&expired=False":                   "200",
		"consumerId=c&credentialProviderIdentifier=p&nextToken=x":                                  "400 invalid_next_token",
		"consumerId=c&credentialProviderIdentifier=p&nextToken=" + next:                            "400 invalid_next_token",
		"consumerId=c&credentialProviderIdentifier=p&maxResults=1&nextToken=" + next:               "200",
		"consumerId=c&credentialProviderIdentifier=p&maxResults=1&revoked=false&nextToken=" + next: "400 invalid_next_token",
		"consumerId=d&credentialProviderIdentifier=p&maxResults=1&nextToken=" + next:               "400 invalid_next_token",
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/v2/idaas_simulator/authenticationTokens?"+query, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		answer := f.do(r)
		var body struct {
			Error     string          `json:"error"`
			RequestID string          `json:"request_id"`
			Entities  json.RawMessage `json:"entities"`
		}
		if err := json.Unmarshal([]byte(answer.body), &body); err != nil {
			t.Error(err)
		}
		got := strings.TrimSpace(strconv.Itoa(answer.status) + " " + body.Error)
		if got != want || answer.status != 200 && body.RequestID == "" || answer.status == 200 && body.Entities == nil {
			t.Errorf("%s: got %s: %s", query, got, answer.body)
		}
	}
	for path, want := range map[string]int{
		"/v2/other/authenticationTokens": http.StatusNotFound,
		"/v2/a/b/authenticationTokens":   http.StatusNotFound,
		"/":                              http.StatusNotFound,
		TokenPath:                        http.StatusMethodNotAllowed,
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+path, nil)
		if answer := f.do(r); answer.status != want {
			t.Errorf("%s: %d", path, answer.status)
		}
	}

	f = start(t, Config{ClampPageSize: true, MaxPageSize: 2})
	f.Add("c", "p", numbered(3)...)
	first = f.page(f.accessToken(), listQuery("maxResults", "50"))
	if len(first.Entities) != 2 || first.Max != 2 {
		t.Errorf("clamped: %+v", first)
	}
}

func TestQuota(t *testing.T) {
	for hint, want := range map[Hint]string{
		HintRateLimit:  "Limit:2,Remain:0,TimeLeft:9500,Reset:9500 ",
		HintRetryAfter: " 10",
		HintBoth:       "Limit:2,Remain:0,TimeLeft:9500,Reset:9500 10",
		HintNone:       " ",
	} {
		f := start(t, Config{Quota: Quota{Requests: 2, Window: 10 * time.Second, Hint: hint}})
		f.Add("c", "p")
		token := f.accessToken()
		var statuses []int
		for range 4 {
			answer := f.list(t.Context(), token, listQuery())
			statuses = append(statuses, answer.status)
			if answer.status == http.StatusTooManyRequests {
				got := answer.header.Get("X-Ratelimit-User") + " " + answer.header.Get("Retry-After")
				if got != want || !strings.Contains(answer.body, `"Code":"Throttling.User"`) {
					t.Errorf("got %q, want %q: %s", got, want, answer.body)
				}
				f.now = f.now.Add(9500 * time.Millisecond)
				continue
			}
			f.now = f.now.Add(250 * time.Millisecond)
		}
		if got := fmt.Sprint(statuses); got != "[200 200 429 200]" {
			t.Error(got)
		}
	}
}

func TestChanges(t *testing.T) {
	f := start(t, Config{})
	f.Add("c", "p", numbered(4)...)
	expect := func(want Counts) {
		t.Helper()
		if got := f.Count("c", "p", epoch); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	expect(Counts{Total: 4, Active: 4})
	if !f.Revoke("t0") || !f.Remove("t1") || !f.Update("t2", func(t *Token) { t.Expires = epoch }) ||
		!f.Update("t3", func(t *Token) { t.Expires = time.Time{} }) {
		t.Error("a token is not found")
	}
	expect(Counts{Total: 3, Active: 1, Expired: 1, Revoked: 1, WithoutExpiration: 1})
	if !f.Reinstate("t0") || f.Remove("t1") || f.Revoke("nobody") {
		t.Error("found what is not there, or not what is")
	}
	expect(Counts{Total: 3, Active: 2, Expired: 1, WithoutExpiration: 1})
	if n, m := f.Expiring("c", "p", epoch, time.Hour), f.Expiring("c", "p", epoch, time.Hour-1); n != 1 || m != 0 {
		t.Errorf("%d expiring within the hour, %d within less", n, m)
	}
	f.Add("d", "p", Token{ID: "t0"})
	expect(Counts{Total: 2, Active: 1, Expired: 1, WithoutExpiration: 1})
}

func TestJournal(t *testing.T) {
	f := start(t, Config{})
	f.Add("c", "p", numbered(2)...)
	token := f.accessToken()
	f.walk(token, listQuery("maxResults", "1"), nil)
	f.Inject(Fault{Kind: Reset})
	f.list(t.Context(), "x", listQuery())
	log := f.Log()
	var got []string
	for _, r := range log {
		got = append(got, fmt.Sprintf("%s %s %s %d %d %t", r.Operation, r.Consumer, r.Provider, r.Page, r.Status, r.AccessToken == token))
	}
	want := "token   0 200 false, list c p 1 200 true, list c p 2 200 true, list c p 1 0 false"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if !log[0].Time.Equal(epoch) || log[1].Query == "" || log[1].UserAgent == "" {
		t.Errorf("%+v", log[:2])
	}
	if f.Requests("") != 4 || f.Requests(List) != 3 || f.Requests(Access) != 1 {
		t.Error("wrong counts of requests")
	}
	for i := range journalSize {
		f.recordStatus(f.record(Request{Page: i}), i)
	}
	log = f.Log()
	if len(log) != journalSize || log[0].Page != 0 || log[journalSize-1].Status != journalSize-1 || f.Requests("") != journalSize+4 {
		t.Errorf("%d entries, the first %+v", len(log), log[0])
	}
}

func TestDateAndRequestID(t *testing.T) {
	f := start(t, Config{ClockSkew: -90 * time.Second})
	answer := f.list(t.Context(), "", nil)
	if got, want := answer.header.Get("Date"), epoch.Add(-90*time.Second).Format(http.TimeFormat); got != want {
		t.Errorf("Date %s, want %s", got, want)
	}
	if answer.header.Get("X-Acs-Request-Id") == "" {
		t.Error("no request id")
	}
}

// counter counts the tokens of responses and keeps the end of the last one.
type counter struct {
	http.ResponseWriter
	tokens int
	tail   []byte
}

func (c *counter) Write(body []byte) (int, error) {
	c.tokens += bytes.Count(body, []byte(`"authenticationTokenId":`))
	c.tail = body[bytes.LastIndex(body, []byte(`"totalCount"`)):]
	return len(body), nil
}

// memory responds to a list call without a network.
func memory(t *testing.T, s *Server, w http.ResponseWriter, token, query string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/idaas_simulator/authenticationTokens?"+query, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	s.ServeHTTP(w, r)
}

func TestGeneratedTokensAreNotHeld(t *testing.T) {
	const n = 100_000
	f := start(t, Config{MaxPageSize: 1000})
	f.Generate("c", "p", n, func(i int) Token {
		return Token{ID: "t" + strconv.Itoa(i), Expires: epoch.Add(time.Duration(i-n/2) * time.Second), Revoked: i%10 == 0}
	})
	f.Add("c", "p", Token{ID: "held"})
	token := f.accessToken()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w, next := counter{ResponseWriter: httptest.NewRecorder()}, ""
	for page := 0; page == 0 || next != ""; page++ {
		memory(t, f.Server, &w, token, "consumerId=c&credentialProviderIdentifier=p&maxResults=1000&nextToken="+next)
		tail := struct {
			Total int    `json:"totalCount"`
			Next  string `json:"nextToken"`
		}{}
		if err := json.Unmarshal(append([]byte("{"), w.tail...), &tail); err != nil || tail.Total != n+1 {
			t.Fatalf("page %d: %v, total %d", page, err, tail.Total)
		}
		next = tail.Next
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if w.tokens != n+1 {
		t.Errorf("listed %d", w.tokens)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	// A tenth of each half is revoked. Number n/2, which expires now, is one of them.
	want := Counts{Total: n + 1, Revoked: n / 10, Active: n/2 - n/20 + 1, Expired: n/2 - n/20, WithoutExpiration: 1}
	if got := f.Count("c", "p", epoch); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCountEqualsListing(t *testing.T) {
	f := start(t, Config{})
	f.Generate("c", "p", 150, func(i int) Token {
		return Token{Revoked: i%7 == 0, Expires: epoch.Add(time.Duration(i-50) * time.Minute)}
	})
	f.Add("c", "p", numbered(30)...)
	f.Add("c", "p", Token{}, Token{ExpiresAs: AsZero}, Token{Revoked: true})
	token := f.accessToken()
	for range 3 {
		var got Counts
		values := listQuery("maxResults", "50")
		for more := true; more; {
			page := f.page(token, values)
			for _, e := range page.Entities {
				got.Total++
				switch forever := e.Expires == nil || *e.Expires == 0; {
				case e.Revoked != nil && *e.Revoked:
					got.Revoked++
				case forever:
					got.Active++
					got.WithoutExpiration++
				case *e.Expires <= f.now.UnixMilli():
					got.Expired++
				default:
					got.Active++
				}
			}
			if more = page.Next != nil; more {
				values.Set("nextToken", *page.Next)
			}
		}
		if want := f.Count("c", "p", f.now); got != want {
			t.Errorf("listed %+v, counted %+v", got, want)
		}
		f.now = f.now.Add(6 * time.Minute)
	}
}

func TestConcurrentUse(t *testing.T) {
	f := start(t, Config{})
	f.Add("c", "p", numbered(200)...)
	token := f.accessToken()
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 50 {
				id := "t" + strconv.Itoa(worker*50+i)
				f.Revoke(id)
				f.Remove(id)
				f.Add("c", "p", Token{ID: id})
				remove := f.Inject(Fault{Kind: Slow, Consumer: "nobody"})
				w := httptest.NewRecorder()
				if memory(t, f.Server, w, token, "consumerId=c&credentialProviderIdentifier=p&maxResults=100"); w.Code != http.StatusOK {
					t.Error(w.Code)
				}
				remove()
				f.Log()
			}
		})
	}
	group.Wait()
	if got := f.Count("c", "p", epoch); got != (Counts{Total: 200, Active: 200, WithoutExpiration: 200}) {
		t.Errorf("%+v", got)
	}
}

func TestSyntheticTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Latency: time.Minute})
		began := time.Now()
		w := httptest.NewRecorder()
		if memory(t, s, w, "", ""); w.Code != http.StatusUnauthorized || time.Since(began) != time.Minute {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
	})
}
