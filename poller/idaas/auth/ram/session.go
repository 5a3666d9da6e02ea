package ram

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// Chain finds credentials. It is safe for concurrent use.
type Chain struct {
	// Send sends a request once, and returns the body of a response with status 200. Its error is a poller.Error without a secret.
	Send func(ctx context.Context, r Request) ([]byte, error)
}

// Request is a request of a Chain.
type Request struct {
	*http.Request
	What    string   // names it in errors
	Direct  bool     // without a proxy
	Secrets []string // in it
}

// metadataTimeout is for a request of the metadata service, which is next to the machine or not there.
const metadataTimeout = 3 * time.Second

// parse reads what STS, the metadata service or a credentials URI returned.
func parse(body []byte, err error) (Credentials, error) {
	if err != nil {
		return Credentials{}, err
	}
	type session struct{ Code, AccessKeyID, AccessKeySecret, SecurityToken, Expiration string }
	var r struct {
		session
		Credentials session // of STS
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Credentials{}, errors.New("response is not JSON with credentials")
	}
	s := cmp.Or(r.Credentials, r.session)
	if s.Code != "" && s.Code != "Success" {
		return Credentials{}, errors.New("response with a Code other than Success")
	}
	found := Credentials{ID: s.AccessKeyID, Secret: s.AccessKeySecret, Token: s.SecurityToken}
	if found.Expires, err = time.Parse(time.RFC3339, s.Expiration); err != nil {
		return Credentials{}, errors.New("response without an Expiration in RFC 3339")
	}
	if !found.Expires.After(time.Now()) {
		return Credentials{}, fmt.Errorf("session expired at %s", s.Expiration)
	}
	return found.session()
}

// assume returns a session of the role of p from STS, for credentials or, if nil, for the token of an OIDC provider.
func (c *Chain) assume(ctx context.Context, p *profile, with *Credentials) (Credentials, error) {
	role := cmp.Or(p.Role, env("ROLE_ARN"))
	if role == "" {
		return Credentials{}, errors.New("neither ram_role_arn nor ALIBABA_CLOUD_ROLE_ARN is set")
	}
	query := url.Values{"Format": {"JSON"}}
	form := url.Values{
		"RoleArn": {role}, "RoleSessionName": {cmp.Or(p.Session, env("ROLE_SESSION_NAME"), "idaas-token-exporter")},
		"DurationSeconds": {strconv.Itoa(cmp.Or(p.Seconds, 3600))},
	}
	for name, value := range map[string]string{"Policy": p.Policy, "ExternalId": p.ExternalID} {
		if value != "" {
			form.Set(name, value)
		}
	}
	action, version, body := "AssumeRole", "2015-04-01", ""
	var secrets []string
	if with != nil {
		for name := range form {
			query[name] = form[name]
		}
	} else {
		action = "AssumeRoleWithOIDC"
		query.Set("Action", action)
		query.Set("Version", version)
		query.Set("Timestamp", time.Now().UTC().Format(time.RFC3339))
		token, err := identityToken(ctx, p)
		if err != nil {
			return Credentials{}, err
		}
		form.Set("OIDCToken", token)
		form.Set("OIDCProviderArn", cmp.Or(p.OIDCProvider, env("OIDC_PROVIDER_ARN")))
		body, secrets = form.Encode(), []string{token}
	}
	host := "sts.aliyuncs.com"
	if region := cmp.Or(p.Region, env("STS_REGION")); region != "" {
		host = "sts." + region + ".aliyuncs.com"
		if p.VPC || enabled("VPC_ENDPOINT_ENABLED") {
			host = "sts-vpc." + region + ".aliyuncs.com"
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		return Credentials{}, fmt.Errorf("no STS at %q", host)
	}
	if with != nil {
		secrets = with.Sign(req, action, version)
	} else {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return parse(c.Send(ctx, Request{Request: req, What: action + " at " + host, Secrets: secrets}))
}

// identityToken returns the token that p has of an OIDC provider.
func identityToken(ctx context.Context, p *profile) (string, error) {
	token, file := cmp.Or(p.OIDCToken, env("OIDC_TOKEN")), cmp.Or(p.OIDCFile, env("OIDC_TOKEN_FILE"))
	if token != "" {
		return token, nil
	}
	if file == "" || p.OIDCProvider+env("OIDC_PROVIDER_ARN") == "" {
		return "", errors.New("ALIBABA_CLOUD_OIDC_TOKEN_FILE or ALIBABA_CLOUD_OIDC_PROVIDER_ARN is not set")
	}
	text, err := disk.Read(ctx, file, maxFile)
	if token = strings.TrimSpace(string(text)); err == nil && token == "" {
		err = &fs.PathError{Op: "read", Path: file, Err: errors.New("empty")}
	}
	return token, err
}

// machine returns a session of the role of this ECS instance, whose name is requested too if unknown.
func (c *Chain) machine(ctx context.Context, role string) (found Credentials, err error) {
	if enabled("ECS_METADATA_DISABLED") {
		return found, errors.New("ALIBABA_CLOUD_ECS_METADATA_DISABLED is set")
	}
	var token []byte
	get := func(method, path string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, "http://100.100.100.200/latest/"+path, nil)
		if err != nil {
			return nil, err
		}
		if method == http.MethodPut {
			req.Header.Set("X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds", "300")
		} else if token != nil {
			req.Header.Set("X-Aliyun-Ecs-Metadata-Token", strings.TrimSpace(string(token)))
		}
		return c.Send(ctx, Request{Request: req, What: "metadata service 100.100.100.200, " + method + " " + path, Direct: true})
	}
	look := func() error {
		const path = "meta-data/ram/security-credentials/"
		name := cmp.Or(role, env("ECS_METADATA"))
		if name == "" {
			text, err := get(http.MethodGet, path)
			if err != nil {
				return err
			}
			name = strings.TrimSpace(string(text))
		}
		found, err = parse(get(http.MethodGet, path+url.PathEscape(name)))
		found.Source = " " + name
		return err
	}
	if token, err = get(http.MethodPut, "api/token"); err == nil {
		err = look()
	}
	if err != nil && !enabled("IMDSV1_DISABLED") {
		// As the vendor's SDKs do: the response to PUT does not reach a container, or the service is an old one.
		first := err
		if token, err = nil, look(); err != nil && !because(first, poller.NotFound) {
			err = first
		}
	}
	return found, err
}

// because reports whether err is a failed request for one of reasons.
func because(err error, reasons ...poller.Reason) bool {
	e, ok := errors.AsType[*poller.Error](err)
	return ok && slices.Contains(reasons, e.Reason)
}

// implicit returns a session of the role of this machine or, where there is none, from the credentials URI.
func (c *Chain) implicit(ctx context.Context) (found Credentials, where string, err error) {
	uri, role := env("CREDENTIALS_URI"), env("ECS_METADATA")
	if role != "" || uri == "" || !enabled("ECS_METADATA_DISABLED") {
		found, err = c.machine(ctx, role)
		switch where = "ECS role"; {
		case uri == "" && role == "":
			if err != nil {
				where = "no access key in the environment, no profile, no credentials URI; ECS role"
			}
			return found, where, err
		case err == nil, role != "", !because(err, poller.NotFound, poller.Connection, poller.Timeout):
			return found, where, err
		}
	}
	where = "ALIBABA_CLOUD_CREDENTIALS_URI"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil || req.URL.Host == "" {
		return found, where, errors.New("not a URL") // not shown: it may hold a secret
	}
	secrets := []string{req.URL.RawQuery, req.URL.Path}
	found, err = parse(c.Send(ctx, Request{Request: req, What: "GET " + req.URL.Host, Secrets: secrets}))
	return found, where + ", host " + req.URL.Host, err
}
