package idaas

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

func vendorExample(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/list-authentication-tokens.json")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestTheVendorsExampleDecodesAsDocumented(t *testing.T) {
	page, next, err := decodePage(vendorExample(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := poller.Page{Total: 100, Tokens: []poller.Token{{
		ID:      "atntkn_01kqflm0sxxx8nmdc1cb5dskxxxxx",
		Expires: time.Date(2026, 3, 5, 6, 52, 48, 0, time.UTC).UnixMilli(),
		Created: time.Date(2022, 4, 13, 6, 10, 25, 0, time.UTC).UnixMilli(),
		Updated: time.Date(2022, 4, 13, 6, 10, 25, 0, time.UTC).UnixMilli(),
		Info:    poller.Info{ProviderID: "atp_01kr2cmj5gxxx4fvmls2e93dxxxxx", TokenType: "jwt", ConsumerType: "custom"},
	}}}
	if !reflect.DeepEqual(page, want) || next != "NTxxxexample" {
		t.Errorf("next %q,\n got %+v\nwant %+v", next, page, want)
	}
}

func TestPagesThatAreAccepted(t *testing.T) {
	one := []poller.Token{{ID: "a"}}
	for _, tt := range []struct {
		body  string
		want  []poller.Token
		total int64
		next  string
	}{
		{`{"entities":[]}`, nil, -1, ""},
		{`{"entities":[],"totalCount":0,"nextToken":null}`, nil, 0, ""},
		{`{"entities":[],"totalCount":7,"nextToken":"n"}`, nil, 7, "n"},
		{`{"totalCount":0}`, nil, 0, ""},
		{`{"entities":null,"totalCount":0}`, nil, 0, ""},
		{`{"totalCount":0,"nextToken":"n"}`, nil, 0, "n"},
		{`{"entities":[],"totalCount":null}`, nil, -1, ""},
		{`{"entities":[],"code":200,"error":null}`, nil, -1, ""},
		{`{"entities":[{"authenticationTokenId":"a"}],"code":"OK","error":""}`, one, -1, ""},
		{`{"entities":[],"totalCount":-7}`, nil, -1, ""},
		{`{"entities":[{"authenticationTokenId":"a"}],"nextToken":""}`, one, -1, ""},
		{` { "entities" : [ { "authenticationTokenId" : "a" } ] } ` + "\n", one, -1, ""},
		{
			`{"entities":[{"authenticationTokenId":"a","revoked":null,"expirationTime":null,"createTime":null,"updateTime":null,` +
				`"credentialProviderId":null,"authenticationTokenType":null,"consumerType":null}]}`,
			one, -1, "",
		},
		{`{"entities":[{"authenticationTokenId":"\u0061"}]}`, one, -1, ""},
		{`{"entities":[{"authenticationTokenId":"a","revoked":true}]}`, []poller.Token{{ID: "a", Revoked: true}}, -1, ""},
		{
			`{"entities":[{"authenticationTokenId":"a","createTime":1649830225,"updateTime":1649830226000}]}`,
			[]poller.Token{{ID: "a", Created: 1649830225000, Updated: 1649830226000}},
			-1, "",
		},
		{`{"entities":[{"authenticationTokenId":"a","createTime":1649830225000}]}`, []poller.Token{{ID: "a", Created: 1649830225000}}, -1, ""},
		// Unknown fields may have any name.
		{`{"entities":[{"authenticationTokenId":"a","Extra":{"Revoked":true},"_x":1}],"MaxResults":1,"extra":{"NextToken":"n"}}`, one, -1, ""},
		{
			`{"entities":[{"authenticationTokenId":"a","consumerType":"` + strings.Repeat("x", 500) + `"}]}`,
			[]poller.Token{{ID: "a", Info: poller.Info{ConsumerType: strings.Repeat("x", maxText) + "…"}}},
			-1, "",
		},
		{
			`{"entities":[{"authenticationTokenId":"a","authenticationTokenType":"j\nwt"}]}`,
			[]poller.Token{{ID: "a", Info: poller.Info{TokenType: "j wt"}}},
			-1, "",
		},
	} {
		sameAsByStructs(t, []byte(tt.body))
		page, next, err := decodePage([]byte(tt.body), nil)
		if err != nil || !reflect.DeepEqual(page.Tokens, tt.want) || page.Total != tt.total || next != tt.next {
			t.Errorf("%s: %+v, next %q, %v", tt.body, page, next, err)
		}
	}
}

func TestPagesThatAreMalformed(t *testing.T) {
	for _, body := range []string{
		"", " ", "null", "{}", "[]", "0", "true", `"text"`, "nil", "<html></html>", "\xef\xbb\xbf{}",
		`{"entities":null}`, `{"totalCount":1}`, `{"totalCount":null}`, `{"entities":null,"totalCount":1}`, `{"nextToken":"n"}`,
		`{"error":"internal_error"}`, `{"Code":"Throttling"}`, `{"Entities":[]}`,
		// An error object with totalCount 0 is not an empty list.
		`{"code":"Forbidden","message":"no","totalCount":0}`, `{"error":"server_error","entities":[],"totalCount":0}`,
		`{"Code":"X","Message":"x","entities":[],"totalCount":0}`, `{"error":"server_error","entities":[{"authenticationTokenId":"a"}]}`,
		`{"error":{"code":"x"},"entities":[]}`,
		`{"entities":{}}`, `{"entities":"[]"}`, `{"entities":0}`, `{"entities":[null]}`, `{"entities":[{}]}`, `{"entities":[[]]}`,
		`{"entities":["a"]}`,
		`{"entities":[{"authenticationTokenId":""}]}`, `{"entities":[{"authenticationTokenId":null}]}`,
		`{"entities":[{"authenticationTokenId":1}]}`,
		`{"entities":[{"authenticationTokenId":"a"},{"authenticationTokenID":"b"}]}`,
		`{"entities":[{"authenticationTokenId":"a","revoked":"true"}]}`, `{"entities":[{"authenticationTokenId":"a","revoked":1}]}`,
		`{"entities":[{"authenticationTokenId":"a","expirationTime":"1772693568000"}]}`,
		`{"entities":[{"authenticationTokenId":"a","expirationTime":1.5}]}`,
		`{"entities":[{"authenticationTokenId":"a","expirationTime":9223372036854775808}]}`,
		`{"entities":[{"authenticationTokenId":"a","expirationTime":[]}]}`,
		`{"entities":[],"totalCount":""}`, `{"entities":[],"totalCount":"x"}`, `{"entities":[],"totalCount":0.5}`,
		`{"entities":[],"totalCount":"NaN"}`, `{"entities":[],"totalCount":true}`, `{"entities":[],"nextToken":5}`,
		`{"entities":[],"nextToken":{}}`,
		`{"entities":[],"entities":[]}`, `{"entities":[{"authenticationTokenId":"a","authenticationTokenId":"a"}]}`,
		`{"entities":[],"x":1,"x":1}`,
		`{"entities":[]}{}`, `{"entities":[]} x`, `{"entities":[]},`, `{"entities":[]`, `{"entities":[`, `{"entities":[],}`, `{'entities':[]}`,
		"{\"entities\":[{\"authenticationTokenId\":\"\xff\"}]}", "{\"entities\":[],\"\xff\":1}",
		`{"entities":[],"nested":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
	} {
		sameAsByStructs(t, []byte(body))
		page, next, err := decodePage([]byte(body), nil)
		if err == nil {
			t.Errorf("%.100s: accepted as %+v, next %q", body, page, next)
		}
	}
}

// A known name in another spelling is not ignored. Otherwise a token would never expire, or a page would be the last.
func TestKnownNamesInAnotherSpelling(t *testing.T) {
	page := []string{"entities", "totalCount", "nextToken", "error"}
	token := []string{
		"authenticationTokenId", "revoked", "expirationTime", "createTime", "updateTime", "credentialProviderId", "authenticationTokenType",
		"consumerType",
	}
	for i, name := range slices.Concat(page, token) {
		text := `{"entities":[{"authenticationTokenId":"a"}],%q:null}`
		if i >= len(page) {
			text = `{"entities":[{"authenticationTokenId":"a",%q:null}]}`
		}
		snake := regexp.MustCompile("[A-Z]").ReplaceAllStringFunc(name, func(s string) string { return "_" + strings.ToLower(s) })
		for _, other := range []string{strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name), strings.ToLower(name), snake, name + "_"} {
			if other == name {
				continue
			}
			body := fmt.Sprintf(text, other)
			sameAsByStructs(t, []byte(body))
			if page, next, err := decodePage([]byte(body), nil); err == nil || !strings.Contains(err.Error(), other) {
				t.Errorf("%s: %+v, next %q, %v", body, page, next, err)
			}
		}
	}
}

// A page contains nothing of the previous page, after a success or a failure.
func TestADecoderForgets(t *testing.T) {
	d := &decoder{}
	bodies := []string{
		`{"entities":[{"authenticationTokenId":"a","revoked":true,"expirationTime":1,"createTime":2,"consumerType":"custom"},` +
			`{"authenticationTokenId":"b"}],"totalCount":7,"nextToken":"n"}`,
		`{"entities":[{"authenticationTokenId":"c"},{"authenticationTokenId":"d","expirationTime":"x"}]}`,
		`{"entities":[{"authenticationTokenId":"e"`, `{"error":"x"}`, `{"totalCount":3}`, `{"entities":null}`, `{"entities":[{}]}`,
		`{"entities":[]}`, `{"totalCount":1}`, `{"entities":[{"authenticationTokenId":"f"}]}`, `{"entities":[],"nextToken":null}`,
		`{"totalCount":0,"nextToken":""}`,
	}
	for range 3 {
		for _, body := range bodies {
			got, next, err := d.read([]byte(body))
			want, wantNext, wantErr := new(decoder).read([]byte(body))
			if next != wantNext || fmt.Sprint(err) != fmt.Sprint(wantErr) || got.Total != want.Total || !slices.Equal(got.Tokens, want.Tokens) {
				t.Errorf("%s: %+v, next %q, %v; want %+v, next %q, %v", body, got, next, err, want, wantNext, wantErr)
			}
		}
	}
}

func TestTokenResponses(t *testing.T) {
	sent := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		body               string
		text               string
		life, until, renew time.Duration
	}{
		{
			`{"access_token":"abc","token_type":"Bearer","expires_in":1200,"expires_at":1}`, "abc", 1200 * time.Second, 1198 * time.Second,
			800 * time.Second,
		},
		{`{"access_token":"abc","expires_in":3}`, "abc", 3 * time.Second, 2700 * time.Millisecond, 2 * time.Second},
		{`{"access_token":"abc","expires_in":1}`, "abc", time.Second, 900 * time.Millisecond, 666_666_666},
		{
			`{"access_token":"abc","expires_in":9223372036854775807}`, "abc", (1 << 31) * time.Second, (1<<31 - 2) * time.Second,
			(1 << 31) * time.Second * 2 / 3,
		},
		{`{"access_token":"abc","expires_in":0}`, "abc", 0, 0, 0},
		{`{"access_token":"abc","expires_in":-5}`, "abc", 0, 0, 0},
		{`{"access_token":"abc","expires_in":null}`, "abc", 0, 0, 0},
		{`{"access_token":"abc"}`, "abc", 0, 0, 0},
		{`{}`, "", 0, 0, 0},
		{`null`, "", 0, 0, 0},
		{`{"access_token":""}`, "", 0, 0, 0},
		{`{"access_token":"two words"}`, "", 0, 0, 0},
		{`{"access_token":"line\r\nX-Evil: 1"}`, "", 0, 0, 0},
		{`{"access_token":"é"}`, "", 0, 0, 0},
		{`{"access_token":7}`, "", 0, 0, 0},
		{`{"access_token":"abc","expires_in":"1200"}`, "abc", 1200 * time.Second, 1198 * time.Second, 800 * time.Second},
		{`{"access_token":"abc","expires_in":" 1200.0 "}`, "abc", 1200 * time.Second, 1198 * time.Second, 800 * time.Second},
		{`{"access_token":"abc","expires_in":1200.0}`, "abc", 1200 * time.Second, 1198 * time.Second, 800 * time.Second},
		{`{"access_token":"abc","expires_in":1.2e3}`, "abc", 1200 * time.Second, 1198 * time.Second, 800 * time.Second},
		{`{"access_token":"abc","expires_in":"1.2E+3"}`, "abc", 1200 * time.Second, 1198 * time.Second, 800 * time.Second},
		{`{"access_token":"abc","expires_in":0.3}`, "abc", 300 * time.Millisecond, 270 * time.Millisecond, 200 * time.Millisecond},
		{`{"access_token":"abc","expires_in":1e400}`, "abc", (1 << 31) * time.Second, (1<<31 - 2) * time.Second, (1 << 31) * time.Second * 2 / 3},
		{`{"access_token":"abc","expires_in":1e-12}`, "abc", 0, 0, 0},
		{`{"access_token":"abc","expires_in":-1e400}`, "abc", 0, 0, 0},
		{`{"access_token":"abc","expires_in":""}`, "abc", 0, 0, 0},
		{`{"access_token":"abc","expires_in":"NaN"}`, "", 0, 0, 0},
		{`{"access_token":"abc","expires_in":"soon"}`, "", 0, 0, 0},
		{`{"access_token":"abc","expires_in":true}`, "", 0, 0, 0},
		{`{"access_token":"abc","expires_in":[1]}`, "", 0, 0, 0},
		{`{"access_token":"abc","access_token":"abd"}`, "", 0, 0, 0},
		{`{"access_token":"abc"} x`, "", 0, 0, 0},
		{`<html>`, "", 0, 0, 0},
		{``, "", 0, 0, 0},
	} {
		got, l, err := decodeToken([]byte(tt.body), sent)
		if (err == nil) != (tt.text != "") || got.text != tt.text {
			t.Errorf("%s: %+v, %v", tt.body, got, err)
			continue
		}
		after := func(d time.Duration) time.Time {
			if d == 0 {
				return time.Time{}
			}
			return sent.Add(d)
		}
		if !got.expires.Equal(after(tt.life)) || !got.until.Equal(after(tt.until)) || !l.until.Equal(got.until) ||
			!l.renew.Equal(after(tt.renew)) {
			t.Errorf("%s: %+v, %+v", tt.body, got, l)
		}
	}
}

func TestScopes(t *testing.T) {
	for body, want := range map[string]string{
		`"a b"`: "a b", `["a","b"]`: "a b", `[]`: "", `null`: "", `""`: "", `7`: "", `["a",7]`: "", `{"a":1}`: "",
	} {
		got, _, err := decodeToken([]byte(`{"access_token":"abc","scope":`+body+`}`), time.Now())
		if err != nil || got.scope != want {
			t.Errorf("%s: %q, %v", body, got.scope, err)
		}
	}
}
