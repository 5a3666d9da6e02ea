package idaas

import (
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// outcome is the outcome of one request that always meets a fault. The zero outcome is a correct response.
type outcome struct {
	reason   poller.Reason
	requests int // 0: one
}

const tries = 1 + 4

var (
	fine        = outcome{}
	malformed   = outcome{poller.Malformed, 1}
	refusal     = outcome{poller.ClientError, 1}
	denied      = outcome{poller.AccessToken, 1}
	unavailable = outcome{poller.ServerError, tries}
	slowDown    = outcome{poller.Throttled, tries}
	late        = outcome{poller.Timeout, tries}
	broken      = outcome{poller.Connection, tries}
	unaffected  = fine // the fault changes pages only
)

// variant is one form of a kind of fault.
type variant struct {
	fault simulator.Fault // with Operation: of that one only
	list  outcome         // on any page
	token outcome         // at the token endpoint
	// pages: the outcome of a walk if the fault is a valid response to a page of the list call. The default is that without the fault.
	pages map[int]pages
	page  int // only on this page, for faults that take real time
	// anyStates: the response is valid, with other states of the tokens.
	anyStates bool
}

// pages is the number of requests of a walk, and the number of tokens it counts; 0: all.
type pages struct{ requests, tokens int }

// faultTable has the outcome for every kind, in a walk over 18 tokens on 5 pages of 4.
var faultTable = map[simulator.FaultKind][]variant{
	simulator.Slow: {
		{fault: simulator.Fault{}},
		{fault: simulator.Fault{Delay: 9 * time.Second}},
		{fault: simulator.Fault{Delay: 11 * time.Second}, list: late, token: late},
	},
	simulator.Status:        statusVariants(),
	simulator.Throttle:      throttleVariants(),
	simulator.ErrorUnder200: errorVariants(),
	simulator.Reset:         {{list: broken, token: broken}},
	simulator.Hang:          {{list: late, token: late}},
	simulator.Redirect: {
		{list: refusal, token: denied},
		{fault: simulator.Fault{Status: 301, Body: "https://elsewhere.test/"}, list: refusal, token: denied},
		{fault: simulator.Fault{Status: 303}, list: refusal, token: denied},
		{fault: simulator.Fault{Status: 307, Body: "http://[::1"}, list: refusal, token: denied},
		{fault: simulator.Fault{Status: 308, RetryAfter: "5"}, list: refusal, token: denied},
	},
	simulator.Garbage:         {{list: malformed, token: malformed}},
	simulator.HTML:            {{list: malformed, token: malformed}},
	simulator.EmptyObject:     {{list: malformed, token: malformed}},
	simulator.SwitchProtocols: {{list: malformed, token: malformed}},
	simulator.Null:            {{list: malformed, token: malformed}},
	simulator.HugeBody: {
		{fault: simulator.Fault{Size: maxBody + 1}, list: malformed, token: malformed, page: 3},
		// Valid as the first page: an empty list. Later, its totalCount of 0 contradicts the earlier pages.
		{fault: simulator.Fault{Size: 1000}, pages: map[int]pages{1: {1, -1}}, token: malformed, page: 1},
		{fault: simulator.Fault{Size: 1000}, list: malformed, token: malformed, page: 3},
		{fault: simulator.Fault{Size: 1000}, list: malformed, token: malformed, page: 5},
	},
	simulator.SlowDrip: {
		{fault: simulator.Fault{Delay: time.Millisecond}},
		{fault: simulator.Fault{Delay: 100 * time.Millisecond}, list: late, token: late},
	},
	simulator.WrongType:      wrongTypes(),
	simulator.MissingField:   missingFields(),
	simulator.DuplicateNames: namesGivenTwice(),
	simulator.InvalidUTF8: {
		{list: malformed, token: malformed},
		{fault: simulator.Fault{Operation: simulator.List, Field: "consumerId"}, list: malformed},
		{fault: simulator.Fault{Operation: simulator.List, Field: "creatorId"}, list: malformed},
		{fault: simulator.Fault{Operation: simulator.List, Field: "maxResults"}, list: malformed},
		{fault: simulator.Fault{Operation: simulator.Access, Field: "scope"}, token: malformed},
	},
	simulator.DeepNesting: {
		{list: malformed, token: malformed},
		{fault: simulator.Fault{Size: 1000}},
	},
	simulator.UnknownFields: {{}},
	simulator.TrailingText:  {{list: malformed, token: malformed}},
	simulator.TruncatedJSON: {{list: malformed, token: malformed}},
	simulator.CutBody:       {{list: broken, token: broken}},
	simulator.MissingID:     {{list: malformed, token: unaffected}},
	simulator.MissingTotal:  {{}},
	simulator.NegativeExpiration: {
		{anyStates: true},
	},
	simulator.EmptyPage:  {{pages: map[int]pages{1: {6, 0}, 3: {6, 0}, 5: {6, 0}}}},
	simulator.ShortPage:  {{pages: map[int]pages{1: {5, 0}, 3: {5, 0}, 5: {6, 0}}}},
	simulator.Duplicates: {{}},
	simulator.Loop: {
		{list: outcome{poller.Loop, 1}},
		{fault: simulator.Fault{Size: 2}, list: outcome{poller.Loop, 1}},
	},
	simulator.EmptyList: {{}},
	simulator.HalfList:  {{}},
}

func statusVariants() []variant {
	var all []variant
	again := outcome{poller.ClientError, tries}
	for status, list := range map[int]outcome{
		201: malformed, 204: malformed, 301: refusal, 302: refusal, 307: refusal,
		400: refusal, 401: {poller.Unauthorized, 2}, 403: {poller.Forbidden, 1}, 404: {poller.NotFound, 1}, 408: again, 425: again, 422: refusal,
		499: refusal,
		500: unavailable, 502: unavailable, 503: unavailable, 504: unavailable, 599: unavailable,
	} {
		token := list
		if status/100 == 3 || status/100 == 4 {
			token = outcome{poller.AccessToken, list.requests}
			if status == 401 {
				token = denied
			}
		}
		all = append(all, variant{fault: simulator.Fault{Status: status}, list: list, token: token})
	}
	// A retry-after that is ignored must not change the reason.
	all = append(all, variant{
		fault: simulator.Fault{Status: 500, RetryAfter: "5", TimeLeft: time.Second}, list: unavailable, token: unavailable,
	})
	for _, shape := range []simulator.Shape{simulator.ShapeService, simulator.ShapeLower, simulator.ShapeGateway} {
		all = append(all, variant{
			fault: simulator.Fault{Status: 400, Shape: shape, Code: "provider_not_found"}, list: outcome{poller.NotFound, 1}, token: denied,
		})
	}
	for _, shape := range []simulator.Shape{simulator.ShapeLower, simulator.ShapeGateway, simulator.ShapeText} {
		all = append(all,
			variant{fault: simulator.Fault{Status: 500, Shape: shape}, list: unavailable, token: unavailable},
			variant{fault: simulator.Fault{Status: 403, Shape: shape}, list: outcome{poller.Forbidden, 1}, token: denied},
			variant{fault: simulator.Fault{Status: 401, Shape: shape}, list: outcome{poller.Unauthorized, 2}, token: denied},
		)
	}
	return append(all,
		variant{fault: simulator.Fault{Status: 503, RetryAfter: "2"}, list: slowDown, token: slowDown},
		variant{fault: simulator.Fault{Status: 403, Body: "<html>blocked</html>"}, list: outcome{poller.Forbidden, 1}, token: denied},
		variant{fault: simulator.Fault{Status: 502, Body: "\x00\xff"}, list: unavailable, token: unavailable},
	)
}

func throttleVariants() []variant {
	codes := []string{"Throttling", "Throttling.User", "Throttling.Api"}
	var all []variant
	for i, status := range []int{200, 302, 400, 401, 403, 404, 429, 500, 503} {
		for j, shape := range []simulator.Shape{simulator.ShapeService, simulator.ShapeLower, simulator.ShapeGateway} {
			all = append(all, variant{
				fault: simulator.Fault{Status: status, Shape: shape, Code: codes[(i+j)%len(codes)]}, list: slowDown, token: slowDown,
			})
		}
	}
	// Plain text has no code: the status decides.
	for status, v := range map[int]variant{
		200: {list: malformed, token: malformed},
		400: {list: refusal, token: denied},
		403: {list: outcome{poller.Forbidden, 1}, token: denied},
		429: {list: slowDown, token: slowDown},
		503: {list: unavailable, token: unavailable},
	} {
		v.fault = simulator.Fault{Status: status, Shape: simulator.ShapeText}
		all = append(all, v)
	}
	// In the message only, of an error with a number as code.
	for _, body := range []string{
		`{"code":400,"message":"Throttling.User: Request was denied due to user flow control."}`,
		`{"Code":"400","Message":"code: 400, Throttling.Api, denied"}`,
		`{"error":"denied","error_description":"Throttling"}`,
	} {
		for _, status := range []int{200, 400, 403, 500} {
			all = append(all, variant{fault: simulator.Fault{Status: status, Body: body}, list: slowDown, token: slowDown})
		}
	}
	// With this header, any response is throttling.
	for _, status := range []int{200, 302, 400, 401, 403, 404, 422, 500, 502} {
		all = append(all, variant{
			fault: simulator.Fault{Status: status, Shape: simulator.ShapeText, AcsAfter: 3 * time.Second}, list: slowDown, token: slowDown,
		})
	}
	return append(all,
		variant{fault: simulator.Fault{RetryAfter: "3"}, list: slowDown, token: slowDown},
		variant{fault: simulator.Fault{TimeLeft: 3 * time.Second, TimeLeftAPI: time.Second}, list: slowDown, token: slowDown},
		variant{fault: simulator.Fault{Code: "anything", Body: "\xff"}, list: slowDown, token: slowDown},
	)
}

func errorVariants() []variant {
	var all []variant
	for shape := simulator.ShapeService; shape <= simulator.ShapeText; shape++ {
		for _, code := range []string{"internal_error", "not_found"} {
			all = append(all, variant{fault: simulator.Fault{Shape: shape, Code: code}, list: malformed, token: malformed})
		}
	}
	return all
}

func wrongTypes() []variant {
	all := []variant{{list: malformed, token: malformed}}
	for field, values := range map[string][]string{
		"entities":                {"{}", `"x"`, "[[]]", "[null]", "null"},
		"totalCount":              {"{}", `"x"`, "1.8"},
		"nextToken":               {"{}", "1"},
		"authenticationTokenId":   {"{}", "1", "null", `""`},
		"revoked":                 {"{}", "1", `"true"`},
		"expirationTime":          {"{}", `"1"`, "1.5", "1e999", "99999999999999999999"},
		"createTime":              {"{}", `"1"`},
		"updateTime":              {"{}", `"1"`},
		"credentialProviderId":    {"{}", "1"},
		"authenticationTokenType": {"{}", "1"},
		"consumerType":            {"{}", "false"},
	} {
		for _, value := range values {
			all = append(all, variant{fault: simulator.Fault{Operation: simulator.List, Field: field, Body: value}, list: malformed})
		}
	}
	for field, values := range map[string][]string{
		"access_token": {"{}", "1", "null", `""`, `"a b"`},
		"expires_in":   {"{}", `"soon"`, "[1200]", "true"},
	} {
		for _, value := range values {
			all = append(all, variant{fault: simulator.Fault{Operation: simulator.Access, Field: field, Body: value}, token: malformed})
		}
	}
	// Unused, or null like absent.
	all = append(all, each(simulator.List, "", "instanceId", "creatorType", "creatorId", "consumerId", "maxResults", "neverheardof")...)
	all = append(all, each(simulator.Access, "", "token_type", "expires_at", "neverheardof")...)
	all = append(
		all,
		each(
			simulator.List, "null", "totalCount", "createTime", "updateTime", "credentialProviderId", "authenticationTokenType", "consumerType",
		)...,
	)
	all = append(all, each(simulator.Access, "null", "expires_in")...)
	// In other formats, or for display only.
	all = append(all, each(simulator.Access, `"1200"`, "expires_in", "scope")...)
	all = append(all, each(simulator.Access, "1.2e3", "expires_in", "scope")...)
	all = append(all, each(simulator.Access, `["a","b"]`, "scope")...)
	return append(all,
		variant{fault: simulator.Fault{Operation: simulator.List, Field: "revoked", Body: "null"}, anyStates: true},
		variant{fault: simulator.Fault{Operation: simulator.List, Field: "expirationTime", Body: "null"}, anyStates: true},
		variant{fault: simulator.Fault{Operation: simulator.List, Field: "totalCount", Body: "-18"}},
		variant{fault: simulator.Fault{Operation: simulator.List, Field: "nextToken", Body: "null"}, pages: map[int]pages{1: {1, 4}, 3: {3, 12}}},
		variant{
			fault: simulator.Fault{Operation: simulator.List, Field: "entities", Body: "[]"},
			pages: map[int]pages{1: {5, 14}, 3: {5, 14}, 5: {5, 16}},
		},
	)
}

func missingFields() []variant {
	all := []variant{
		{list: malformed, token: malformed},
		{fault: simulator.Fault{Operation: simulator.List, Field: "entities"}, list: malformed},
		{fault: simulator.Fault{Operation: simulator.List, Field: "nextToken"}, pages: map[int]pages{1: {1, 4}, 3: {3, 12}}},
		{fault: simulator.Fault{Operation: simulator.List, Field: "revoked"}, anyStates: true},
		{fault: simulator.Fault{Operation: simulator.List, Field: "expirationTime"}, anyStates: true},
	}
	all = append(all, each(
		simulator.List, "",
		"totalCount", "maxResults", "createTime", "updateTime", "credentialProviderId", "authenticationTokenType", "consumerType", "consumerId",
		"instanceId",
	)...)
	return append(all, each(simulator.Access, "", "expires_in", "expires_at", "token_type", "scope")...)
}

// each returns variants without effect.
func each(operation, body string, fields ...string) []variant {
	var all []variant
	for _, field := range fields {
		all = append(all, variant{fault: simulator.Fault{Operation: operation, Field: field, Body: body}})
	}
	return all
}

// namesGivenTwice are refused everywhere, in unused parts, too.
func namesGivenTwice() []variant {
	all := []variant{{list: malformed, token: malformed}}
	for _, field := range []string{
		"totalCount", "nextToken", "maxResults", "revoked", "expirationTime", "createTime", "consumerId", "instanceId",
	} {
		all = append(all, variant{fault: simulator.Fault{Operation: simulator.List, Field: field}, list: malformed})
	}
	for _, field := range []string{"access_token", "expires_in", "token_type"} {
		all = append(all, variant{fault: simulator.Fault{Operation: simulator.Access, Field: field}, token: malformed})
	}
	return all
}
