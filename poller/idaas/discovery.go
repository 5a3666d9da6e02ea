package idaas

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
)

// Instance is where an IDaaS instance answers.
type Instance struct {
	ID            string
	Endpoint      string // base URL of the developer API, without a path
	TokenEndpoint string // empty if none is needed
	Management    string // base URL of the management API; empty if the developer API tells no region
}

// discover completes what is configured by what the instance's domain says of itself; once only when renewing.
func (c *Client) discover(ctx context.Context, renewing bool) (Instance, error) {
	retries := c.config.Retries
	if renewing {
		retries = 0
	}
	found := Instance{ID: c.config.InstanceID, Endpoint: c.config.Endpoint, TokenEndpoint: c.config.TokenEndpoint}
	needsToken := found.TokenEndpoint == "" && !c.config.AccessToken.Given() && c.config.Auth.Method != auth.RAM
	if found.ID == "" || found.Endpoint == "" || needsToken {
		issuer, err := c.readInstance(ctx, retries, &found)
		if err == nil && needsToken {
			found.TokenEndpoint, err = c.readIssuer(ctx, retries, issuer)
		}
		if err != nil {
			return Instance{}, err
		}
	}
	found.Management = cmp.Or(c.config.Management, auth.ManagementEndpoint(found.Endpoint))
	c.config.Events.Instance(found.ID, found.Endpoint)
	return found, nil
}

// readInstance fills what is unset in found from the instance document, and returns the issuer of access tokens.
func (c *Client) readInstance(ctx context.Context, retries int, found *Instance) (issuer string, err error) {
	err = c.document(ctx, retries, c.config.Domain+"/.well-known/cloud-idaas-configuration", "instance document", func(body []byte) error {
		var w struct {
			InstanceID string            `json:"instance_id"`
			Issuer     string            `json:"default_authorization_server_issuer"`
			Endpoints  map[string]string `json:"developer_api_endpoint"`
		}
		if err := json.Unmarshal(body, &w); err != nil {
			return err
		}
		issuer = w.Issuer
		if found.ID == "" {
			// Dots alone would be a step in the path.
			if found.ID = w.InstanceID; strings.Trim(found.ID, ".") == "" {
				return errors.New("it has no instance_id")
			}
		}
		if found.Endpoint == "" {
			found.Endpoint, err = poller.ParseEndpoint(w.Endpoints[c.config.Network], false)
			if err != nil {
				return fmt.Errorf("its developer_api_endpoint for %s: %w", c.config.Network, err)
			}
		}
		return nil
	})
	return issuer, err
}

// readIssuer returns the token endpoint that the issuer's OpenID document names.
func (c *Client) readIssuer(ctx context.Context, retries int, issuer string) (tokenEndpoint string, err error) {
	base, err := poller.ParseEndpoint(issuer, true)
	if err != nil {
		return "", fail(poller.Malformed, "instance document: its default_authorization_server_issuer: %w", err)
	}
	err = c.document(ctx, retries, base+"/.well-known/openid-configuration", "OpenID document", func(body []byte) error {
		var w struct {
			TokenEndpoint string `json:"token_endpoint"`
		}
		if err := json.Unmarshal(body, &w); err != nil {
			return err
		}
		if tokenEndpoint, err = poller.ParseEndpoint(w.TokenEndpoint, true); err != nil {
			return fmt.Errorf("its token_endpoint: %w", err)
		}
		return nil
	})
	return tokenEndpoint, err
}

// document reads one public document.
func (c *Client) document(ctx context.Context, retries int, url, what string, decode func([]byte) error) error {
	return c.do(ctx, &call{
		operation: OpDiscovery,
		what:      what,
		retries:   retries,
		decode:    decode,
		build: func(ctx context.Context) (*http.Request, error) {
			if err := c.gate.wait(ctx); err != nil {
				return nil, err
			}
			return http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		},
	}, new(bytes.Buffer))
}
