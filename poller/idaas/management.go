package idaas

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// viaRAM is the method whose access tokens come from the management API, not from the token endpoint.
const viaRAM = "ram"

// manage builds a signed request to the management API.
func (c *Client) manage(ctx context.Context, call *call, at Instance, action string, query url.Values) (*http.Request, error) {
	if at.Management == "" {
		return nil, fail(poller.AccessToken, "%s: %s tells no region: set IDAAS_MANAGEMENT_ENDPOINT", call.what, at.Endpoint)
	}
	if err := c.gate.wait(ctx); err != nil {
		return nil, err
	}
	query.Set("InstanceId", at.ID)
	call.hide = scrubber{}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.Management+"/?"+plain(query), http.NoBody)
	var secrets []string
	if err == nil {
		secrets, err = c.signer.Sign(ctx, req, action, "2021-12-01")
	}
	if err != nil {
		return nil, fail(poller.AccessToken, "%s: %w", call.what, err)
	}
	for _, secret := range secrets {
		call.hide = call.hide.hide(secret, "[secret]")
	}
	return req, nil
}

// refusedKey are the codes of a gateway that does not take the credentials or the signature.
var refusedKey = regexp.MustCompile(`\b(InvalidAccessKeyId|SignatureDoesNotMatch|IncompleteSignature|InvalidSecurityToken|InvalidTimeStamp)\b`)

// judge has other credentials found when err says that those in use were refused.
func (c *Client) judge(err error) error {
	if f, ok := errors.AsType[*failure](err); ok && refusedKey.MatchString(f.Error()) {
		c.signer.Forget()
		f.cause.Reason = poller.AccessToken
	}
	return err
}

// tokenByRAM builds the call GenerateOauthToken.
func (c *Client) tokenByRAM(ctx context.Context, call *call, at Instance) (*http.Request, error) {
	query := url.Values{"ApplicationId": {c.config.Auth.ClientID}}
	for i, item := range strings.Fields(c.config.Auth.Scope) {
		audience, value, ok := strings.Cut(item, "|")
		if !ok || i > 0 && query.Get("Audience") != audience {
			return nil, fail(poller.AccessToken, "access token: IDAAS_SCOPE is not a list of audience|permission of one audience")
		}
		query.Set("Audience", audience)
		query.Set(fmt.Sprintf("ScopeValues.%d", i+1), value)
	}
	return c.manage(ctx, call, at, "GenerateOauthToken", query)
}

func decodeTokenByRAM(body []byte, sent time.Time) (accessToken, lease, error) {
	var w struct {
		TokenResponse struct {
			AccessToken string
			ExpiresIn   jsontext.Value
		}
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return accessToken{}, lease{}, err
	}
	return newToken(w.TokenResponse.AccessToken, w.TokenResponse.ExpiresIn, nil, sent)
}

// providerPage is an answer of ListCredentialProviders, as far as it is used.
type providerPage struct {
	CredentialProviders []struct {
		CredentialProviderIdentifier, CredentialProviderType, Status string
	}
	NextToken  string
	TotalCount *int64
}

// Providers returns the enabled credential providers of the instance, each once, in order. A list that is not surely whole is
// an error.
func (c *Client) Providers(ctx context.Context) ([]poller.Provider, error) {
	at, err := c.instance.get(ctx)
	if err != nil {
		return nil, err
	}
	var found []poller.Provider
	var page providerPage
	listed, seen := map[string]bool{}, map[string]bool{}
	for number := 1; number <= maxEmpty; number++ {
		call := &call{operation: OpDiscovery, what: fmt.Sprintf("credential providers, page %d", number), retries: c.config.Retries}
		query := url.Values{"MaxResults": {"100"}, "Statuses.1": {"enabled"}}
		if page.NextToken != "" {
			query.Set("NextToken", page.NextToken)
		}
		call.build = func(ctx context.Context) (*http.Request, error) {
			return c.manage(ctx, call, at, "ListCredentialProviders", query)
		}
		call.decode = func(body []byte) error {
			page = providerPage{}
			if err := json.Unmarshal(body, &page); err != nil {
				return err
			}
			if page.CredentialProviders == nil && (page.TotalCount == nil || *page.TotalCount != 0) {
				return errors.New("neither CredentialProviders nor a TotalCount of 0")
			}
			return nil
		}
		if err := c.judge(c.do(ctx, call, new(bytes.Buffer))); err != nil {
			return nil, err
		}
		for i, p := range page.CredentialProviders {
			if p.CredentialProviderIdentifier == "" {
				return nil, fail(poller.Malformed, "%s: CredentialProviders[%d] has no CredentialProviderIdentifier", call.what, i)
			}
			if !listed[p.CredentialProviderIdentifier] && p.Status == "enabled" {
				found = append(found, poller.Provider{Identifier: p.CredentialProviderIdentifier, Type: p.CredentialProviderType})
			}
			listed[p.CredentialProviderIdentifier] = true
		}
		if page.NextToken == "" {
			if page.TotalCount != nil && int64(len(listed)) < *page.TotalCount {
				// They change while they are listed: what is missing would be dropped.
				return nil, fail(poller.Malformed, "%s: it was the last, but of %d providers only %d came", call.what, *page.TotalCount, len(listed))
			}
			slices.SortFunc(found, func(a, b poller.Provider) int { return cmp.Compare(a.Identifier, b.Identifier) })
			return found, nil
		}
		if seen[page.NextToken] {
			return nil, fail(poller.Loop, "%s: its NextToken was given before", call.what)
		}
		seen[page.NextToken] = true
	}
	return nil, fail(poller.Loop, "credential providers: there are more than %d pages", maxEmpty)
}
