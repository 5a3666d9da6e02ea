package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// TestFaults lists 4 tokens, two per page, with every kind of fault.
func TestFaults(t *testing.T) {
	const page1 = `"authenticationTokenId":"t0"`
	valid := func(r response) bool { return r.err == nil && r.status == 200 && json.Valid([]byte(r.body)) }
	tests := map[FaultKind]func(r response) bool{
		Slow:               func(r response) bool { return valid(r) && strings.Contains(r.body, page1) },
		Status:             func(r response) bool { return r.status == 500 && strings.Contains(r.body, `"error":"internal_error"`) },
		Throttle:           func(r response) bool { return r.status == 429 && strings.Contains(r.body, "Throttling.User") },
		ErrorUnder200:      func(r response) bool { return valid(r) && strings.Contains(r.body, `"error":`) },
		Reset:              func(r response) bool { return r.status == 0 && r.err != nil },
		Hang:               func(r response) bool { return r.status == 0 && r.err != nil },
		Redirect:           func(r response) bool { return r.status == 302 && r.header.Get("Location") == "/login" },
		Garbage:            func(r response) bool { return r.status == 200 && !valid(r) },
		HTML:               func(r response) bool { return r.status == 200 && strings.HasPrefix(r.body, "<!DOCTYPE html>") },
		EmptyObject:        func(r response) bool { return valid(r) && r.body == "{}" },
		Null:               func(r response) bool { return valid(r) && r.body == "null" },
		HugeBody:           func(r response) bool { return valid(r) && len(r.body) == 1<<20 },
		SlowDrip:           func(r response) bool { return r.status == 200 && r.err != nil && strings.HasPrefix(r.body, `{"ent`) },
		WrongType:          func(r response) bool { return valid(r) && strings.Contains(r.body, `"authenticationTokenId":{}`) },
		MissingField:       func(r response) bool { return valid(r) && !strings.Contains(r.body, "authenticationTokenId") },
		DuplicateNames:     func(r response) bool { return valid(r) && strings.Contains(r.body, page1+","+page1) },
		InvalidUTF8:        func(r response) bool { return r.status == 200 && !utf8.ValidString(r.body) },
		DeepNesting:        func(r response) bool { return strings.Count(r.body, "[") > 100_000 },
		SwitchProtocols:    func(r response) bool { return r.status == 101 && r.body == "" },
		UnknownFields:      func(r response) bool { return valid(r) && strings.Count(r.body, "newMember") == 3 },
		TrailingText:       func(r response) bool { return !valid(r) && strings.Contains(r.body, page1) },
		TruncatedJSON:      func(r response) bool { return r.err == nil && !valid(r) && strings.Contains(r.body, page1) },
		CutBody:            func(r response) bool { return r.status == 200 && r.err != nil && strings.Contains(r.body, page1) },
		MissingID:          func(r response) bool { return valid(r) && !strings.Contains(r.body, "authenticationTokenId") },
		MissingTotal:       func(r response) bool { return valid(r) && !strings.Contains(r.body, "totalCount") },
		NegativeExpiration: func(r response) bool { return valid(r) && strings.Count(r.body, `"expirationTime":-1`) == 2 },
		EmptyPage: func(r response) bool {
			return valid(r) && strings.Contains(r.body, `"entities":[],`) && strings.Contains(r.body, "nextToken")
		},
		ShortPage:  func(r response) bool { return valid(r) && strings.Count(r.body, "instanceId") == 1 },
		Duplicates: valid, // the walks below check more
		Loop:       valid,
		EmptyList:  valid, // TestListings
		HalfList:   valid,
	}
	sizes := map[FaultKind]int64{HugeBody: 1 << 20}
	for _, kind := range AllFaults() {
		t.Run(kind.String(), func(t *testing.T) {
			f := start(t, Config{})
			f.Add("c", "p", numbered(4)...)
			token := f.accessToken()
			f.Inject(Fault{Kind: kind, Times: 1, Size: sizes[kind]})
			timeout := 10 * time.Second
			if kind == Hang || kind == SlowDrip {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			r := f.list(ctx, token, listQuery("maxResults", "2"))
			if !tests[kind](r) {
				t.Errorf("%d, %v: %.300s", r.status, r.err, r.body)
			}
			if r = f.list(t.Context(), token, listQuery("maxResults", "2")); !valid(r) || !strings.Contains(r.body, page1) {
				t.Errorf("after it: %+v", r)
			}
		})
	}
	if len(tests) != len(AllFaults()) || FaultKind(-1).String() != "FaultKind(-1)" {
		t.Error("kinds without a test")
	}
}

func TestWalksWithFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault Fault
		want  string
	}{
		"empty page":          {Fault{Kind: EmptyPage, Page: 2}, "[[t0 t1] [] [t2 t3] [t4]]"},
		"empty page, last":    {Fault{Kind: EmptyPage, Page: -1, Times: 1}, "[[t0 t1] [t2 t3] [] [t4]]"},
		"short page":          {Fault{Kind: ShortPage, Page: 1}, "[[t0] [t1 t2] [t3 t4]]"},
		"short pages":         {Fault{Kind: ShortPage}, "[[t0] [t1] [t2] [t3] [t4]]"},
		"duplicates":          {Fault{Kind: Duplicates, Page: 1}, "[[t0 t1] [t1 t2] [t3 t4]]"},
		"duplicates, last":    {Fault{Kind: Duplicates, Page: -1}, "[[t0 t1] [t2 t3] [t4 t4]]"},
		"other page":          {Fault{Kind: Reset, Page: 4}, "[[t0 t1] [t2 t3] [t4]]"},
		"other consumer":      {Fault{Kind: Reset, Consumer: "d"}, "[[t0 t1] [t2 t3] [t4]]"},
		"other provider":      {Fault{Kind: Reset, Provider: "d"}, "[[t0 t1] [t2 t3] [t4]]"},
		"other operation":     {Fault{Kind: Reset, Operation: Access}, "[[t0 t1] [t2 t3] [t4]]"},
		"other time":          {Fault{Kind: Reset, When: func(now time.Time) bool { return now.After(epoch) }}, "[[t0 t1] [t2 t3] [t4]]"},
		"unknown field":       {Fault{Kind: WrongType, Field: "nobody's"}, "[[t0 t1] [t2 t3] [t4]]"},
		"unknown fields":      {Fault{Kind: UnknownFields}, "[[t0 t1] [t2 t3] [t4]]"},
		"negative expiration": {Fault{Kind: NegativeExpiration}, "[[t0 t1] [t2 t3] [t4]]"},
	} {
		for _, offset := range []bool{false, true} {
			t.Run(fmt.Sprint(name, offset), func(t *testing.T) {
				f := start(t, Config{OffsetCursor: offset})
				f.Add("c", "p", numbered(5)...)
				token := f.accessToken()
				f.Inject(test.fault)
				if got := fmt.Sprint(f.walk(token, listQuery("maxResults", "2"), nil)); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		}
	}
}

func TestLoops(t *testing.T) {
	for name, test := range map[string]struct {
		fault  Fault
		cursor []int // for each page, the first earlier one with the same nextToken, or -1
		ids    string
	}{
		"immediate":     {Fault{Kind: Loop, Page: 2}, []int{-1, 0, 0, 0}, "t0 t1 t1 t1"},
		"of two":        {Fault{Kind: Loop, Page: 3, Size: 2}, []int{-1, -1, 0, 1, 0}, "t0 t1 t2 t1 t2"},
		"of three":      {Fault{Kind: Loop, Page: 4, Size: 3}, []int{-1, -1, -1, 0, 1, 2}, "t0 t1 t2 t3 t1 t2"},
		"on first page": {Fault{Kind: Loop}, []int{-1, 0, 0}, "t0 t0 t0"},
		"on last page":  {Fault{Kind: Loop, Page: -1}, []int{-1, -1, -1, 2, 2}, "t0 t1 t2 t3 t3"},
	} {
		for _, filter := range []string{"", "true"} {
			for _, offset := range []bool{false, true} {
				t.Run(fmt.Sprint(name, filter, offset), func(t *testing.T) {
					f := start(t, Config{OffsetCursor: offset})
					f.Add("c", "p", numbered(4)...)
					f.now = f.now.Add(1000 * time.Hour)
					f.Generate("other", "p", 1, func(int) Token { return Token{} })
					token := f.accessToken()
					f.Inject(test.fault)
					values := listQuery("maxResults", "1")
					if filter != "" {
						values.Set("expired", filter)
					}
					seen := map[string]int{}
					var ids []string
					for i, want := range test.cursor {
						var page listed
						if err := json.Unmarshal([]byte(f.list(t.Context(), token, values).body), &page); err != nil || page.Next == nil {
							t.Fatalf("page %d: %v", i, err)
						}
						before, ok := seen[*page.Next]
						if !ok {
							before = -1
							seen[*page.Next] = i
						}
						if before != want {
							t.Errorf("page %d repeats the nextToken of %d, want %d", i, before, want)
						}
						ids = append(ids, page.Entities[0].ID)
						values.Set("nextToken", *page.Next)
					}
					if got := strings.Join(ids, " "); got != test.ids {
						t.Errorf("got %s, want %s", got, test.ids)
					}
				})
			}
		}
	}
}

func TestFaultDetails(t *testing.T) {
	for name, test := range map[string]struct {
		fault  Fault
		status int
		body   string
		header map[string]string
	}{
		"lower case": {
			Fault{Kind: Status, Status: 503, Shape: ShapeLower, Code: "Busy"},
			503, `{"code":"Busy","message":"simulated fault","requestId":"`,
			nil,
		},
		"gateway": {
			Fault{Kind: Status, Status: 502, Shape: ShapeGateway},
			502, `{"Code":"internal_error","Message":"simulated fault","RequestId":"`,
			nil,
		},
		"text": {
			Fault{Kind: Status, Shape: ShapeText},
			500, "internal_error: simulated fault\n",
			map[string]string{"Content-Type": "text/plain; charset=utf-8"},
		},
		"own body": {Fault{Kind: Status, Status: 403, Body: "no"}, 403, "no", nil},
		"throttled as 400": {
			Fault{Kind: Throttle, Status: 400, Code: "Throttling.Api", Shape: ShapeGateway}, 400, `{"Code":"Throttling.Api"`, nil,
		},
		"throttled as 200": {Fault{Kind: Throttle, Status: 200, Code: "Throttling"}, 200, `{"error":"Throttling"`, nil},
		"hints in ms": {
			Fault{Kind: Throttle, TimeLeft: 1500 * time.Millisecond, TimeLeftAPI: time.Minute},
			429, "",
			map[string]string{
				"X-Ratelimit-User":     "Limit:1,Remain:0,TimeLeft:1500,Reset:1500",
				"X-Ratelimit-User-Api": "Limit:1,Remain:0,TimeLeft:60000,Reset:60000",
			},
		},
		"retry after": {
			Fault{Kind: Throttle, RetryAfter: "Fri, 01 May 2026 12:00:05 GMT"},
			429, "",
			map[string]string{"Retry-After": "Fri, 01 May 2026 12:00:05 GMT"},
		},
		"redirect": {
			Fault{Kind: Redirect, Status: 307, Body: "https://elsewhere"}, 307, "", map[string]string{"Location": "https://elsewhere"},
		},
		"entities of a kind": {Fault{Kind: WrongType, Field: "entities"}, 200, `{"entities":{},`, nil},
		"text for a time":    {Fault{Kind: WrongType, Field: "expirationTime", Body: `"soon"`}, 200, `{"entities":[{"instanceId"`, nil},
		"small huge body":    {Fault{Kind: HugeBody, Size: 100_000}, 200, `{"totalCount":0,"entities":[ `, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Config{})
			f.Add("c", "p", numbered(1)...)
			token := f.accessToken()
			remove := f.Inject(test.fault)
			answer := f.list(t.Context(), token, listQuery())
			if answer.status != test.status || !strings.HasPrefix(answer.body, test.body) {
				t.Errorf("%d %.200s", answer.status, answer.body)
			}
			for name, want := range test.header {
				if got := answer.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			remove()
			if answer = f.list(t.Context(), token, listQuery()); answer.status != 200 || !strings.Contains(answer.body, `"t0"`) {
				t.Errorf("after it: %+v", answer)
			}
		})
	}
}

func TestFaultsOfTheOtherOperations(t *testing.T) {
	f := start(t, Config{})
	f.Inject(Fault{Operation: Access, Kind: WrongType, Field: "expires_in", Body: `"1200"`, Times: 1})
	f.Inject(Fault{Operation: Access, Kind: MissingField, Times: 1})
	for _, want := range []string{`"expires_in":"1200"`, `{"token_type"`, `{"access_token"`} {
		if body := f.post(tokenForm("client_secret", testSecret)).body; !strings.Contains(body, want) {
			t.Errorf("%s lacks %s", body, want)
		}
	}
	f.Inject(Fault{Operation: Discovery, Kind: Status, Status: 404})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+InstanceDiscoveryPath, nil)
	if answer := f.do(r); answer.status != http.StatusNotFound {
		t.Errorf("%+v", answer)
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	for _, kind := range []FaultKind{Hang, SlowDrip, Slow} {
		f := start(t, Config{})
		f.Add("c", "p")
		token := f.accessToken()
		f.Inject(Fault{Kind: kind, Delay: time.Hour})
		ended := make(chan response)
		go func() { ended <- f.list(t.Context(), token, listQuery()) }()
		for f.Requests(List) == 0 {
			time.Sleep(time.Millisecond)
		}
		f.Close()
		if r := <-ended; r.err == nil {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}

func TestContextEndsWhatHangs(t *testing.T) {
	for _, kind := range []FaultKind{Hang, SlowDrip, Slow} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{Latency: time.Second})
			s.Inject(Fault{Kind: kind, Delay: time.Minute})
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
			defer cancel()
			began := time.Now()
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) || time.Since(began) > 70*time.Second {
					t.Errorf("%s: %v after %s", kind, err, time.Since(began))
				}
			}()
			if kind == Slow {
				cancel()
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, InstanceDiscoveryPath, nil)
			s.ServeHTTP(httptest.NewRecorder(), r)
			t.Errorf("%s: an answer", kind)
		})
	}
}
