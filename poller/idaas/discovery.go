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

// Instance has the endpoints of an IDaaS instance.
type Instance struct {
	ID            string
	Endpoint      string // base URL of the developer API, without a path
	TokenEndpoint string // empty if none is needed
	Management    string // base URL of the management API; empty if the developer API's host contains no region
}

// discover reads what is not configured from the documents at the instance's domain.
func (c *Client) discover(ctx context.Context, renewing bool) (Instance, lease, error) {
	found := Instance{ID: c.config.InstanceID, Endpoint: c.config.Endpoint, TokenEndpoint: c.config.TokenEndpoint}
	needsToken := found.TokenEndpoint == "" && !c.config.AccessToken.Given() && c.config.Auth.Method != auth.RAM
	if found.ID == "" || found.Endpoint == "" || needsToken {
		issuer, err := c.readInstance(ctx, c.retries(renewing), &found)
		if err == nil && needsToken {
			found.TokenEndpoint, err = c.readIssuer(ctx, c.retries(renewing), issuer)
		}
		if err != nil {
			return Instance{}, lease{}, err
		}
	}
	found.Management = cmp.Or(c.config.Management, auth.ManagementEndpoint(found.Endpoint))
	c.config.Events.Instance(found.ID, found.Endpoint)
	if renewing && found != c.instance.value {
		c.config.Log.Info("instance endpoints changed", "instance", found.ID, "api", found.Endpoint, "token_endpoint", found.TokenEndpoint)
	}
	return found, lease{}, nil
}

// readInstance sets what is empty in found from the instance document, and returns the issuer of access tokens.
func (c *Client) readInstance(ctx context.Context, retries int, found *Instance) (issuer string, err error) {
	var w struct {
		InstanceID string            `json:"instance_id"`
		Issuer     string            `json:"default_authorization_server_issuer"`
		Endpoints  map[string]string `json:"developer_api_endpoint"`
	}
	err = c.document(ctx, retries, c.config.Domain+"/.well-known/cloud-idaas-configuration", "instance document", &w, func() error {
		if found.ID == "" {
			// Only dots would change the path.
			if found.ID = w.InstanceID; strings.Trim(found.ID, ".") == "" {
				return errors.New("it has no instance_id")
			}
		}
		if found.Endpoint == "" {
			if found.Endpoint, err = poller.ParseEndpoint(w.Endpoints[c.config.Network], false); err != nil {
				return fmt.Errorf("its developer_api_endpoint for %s: %w", c.config.Network, err)
			}
		}
		return nil
	})
	return w.Issuer, err
}

// readIssuer returns the token endpoint of the issuer's OpenID document.
func (c *Client) readIssuer(ctx context.Context, retries int, issuer string) (tokenEndpoint string, err error) {
	base, err := poller.ParseEndpoint(issuer, true)
	if err != nil {
		return "", fail(poller.Malformed, "instance document: its default_authorization_server_issuer: %w", err)
	}
	var w struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	err = c.document(ctx, retries, base+"/.well-known/openid-configuration", "OpenID document", &w, func() error {
		if tokenEndpoint, err = poller.ParseEndpoint(w.TokenEndpoint, true); err != nil {
			return fmt.Errorf("its token_endpoint: %w", err)
		}
		return nil
	})
	return tokenEndpoint, err
}

// document reads a public document into v, and has use check it.
func (c *Client) document(ctx context.Context, retries int, url, what string, v any, use func() error) error {
	return c.do(ctx, &call{
		operation: OpDiscovery, what: what, retries: retries,
		build: func(ctx context.Context) (*http.Request, error) {
			if err := c.developer.wait(ctx); err != nil {
				return nil, err
			}
			return http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		},
		decode: func(body []byte) error {
			if err := json.Unmarshal(body, v); err != nil {
				return err
			}
			return use()
		},
	}, new(bytes.Buffer))
}
