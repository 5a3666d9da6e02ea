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
	if json.Unmarshal(body, &r) != nil {
		return Credentials{}, errors.New("response is not JSON with credentials")
	}
	s := cmp.Or(r.Credentials, r.session)
	expires, err := time.Parse(time.RFC3339, s.Expiration)
	switch {
	case s.Code != "" && s.Code != "Success":
		err = errors.New("response with a Code other than Success")
	case err != nil:
		err = errors.New("response without an Expiration in RFC 3339")
	case !expires.After(time.Now()):
		err = fmt.Errorf("session expired at %s", s.Expiration)
	default:
		return Credentials{ID: s.AccessKeyID, Secret: s.AccessKeySecret, Token: s.SecurityToken, Expires: expires}.complete(true)
	}
	return Credentials{}, err
}

// assume returns a session of the role of p from STS, for credentials or, if nil, for the token of an OIDC provider.
func (c *Chain) assume(ctx context.Context, p *profile, with *Credentials) (found Credentials, err error) {
	role, host := cmp.Or(p.Role, env("ROLE_ARN")), "sts.aliyuncs.com"
	if role == "" {
		return found, errors.New("neither ram_role_arn nor ALIBABA_CLOUD_ROLE_ARN is set")
	}
	if region := cmp.Or(p.Region, env("STS_REGION")); region != "" {
		host = "sts." + region + ".aliyuncs.com"
		if p.VPC || enabled("VPC_ENDPOINT_ENABLED") {
			host = "sts-vpc." + region + ".aliyuncs.com"
		}
	}
	action, version := "AssumeRole", "2015-04-01"
	query, form := url.Values{"Format": {"JSON"}}, url.Values{}
	parameters, token := query, ""
	if with == nil {
		if token, err = identityToken(ctx, p); err != nil {
			return found, err
		}
		action, parameters = "AssumeRoleWithOIDC", form
		query.Set("Action", action)
		query.Set("Version", version)
		query.Set("Timestamp", time.Now().UTC().Format(time.RFC3339))
		form.Set("OIDCProviderArn", cmp.Or(p.OIDCProvider, env("OIDC_PROVIDER_ARN")))
		form.Set("OIDCToken", token)
	}
	for name, value := range map[string]string{
		"RoleArn": role, "RoleSessionName": cmp.Or(p.Session, env("ROLE_SESSION_NAME"), "idaas-token-exporter"),
		"DurationSeconds": strconv.Itoa(cmp.Or(p.Seconds, 3600)), "Policy": p.Policy, "ExternalId": p.ExternalID,
	} {
		if value != "" {
			parameters.Set(name, value)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/?"+query.Encode(), strings.NewReader(form.Encode()))
	if err != nil {
		return found, fmt.Errorf("no STS at %q", host)
	}
	secrets := []string{token}
	if with != nil {
		secrets = with.Sign(req, action, version)
	} else {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	found, err = parse(c.Send(ctx, Request{Request: req, What: action + " at " + host, Secrets: secrets}))
	found.Source = " " + role
	return found, err
}

// identityToken returns the token that p has of an OIDC provider.
func identityToken(ctx context.Context, p *profile) (string, error) {
	token, file := cmp.Or(p.OIDCToken, env("OIDC_TOKEN")), cmp.Or(p.OIDCFile, env("OIDC_TOKEN_FILE"))
	switch {
	case p.OIDCProvider+env("OIDC_PROVIDER_ARN") == "":
		return "", errors.New("no ALIBABA_CLOUD_OIDC_PROVIDER_ARN")
	case token != "":
		return token, nil
	case file == "":
		return "", errors.New("no ALIBABA_CLOUD_OIDC_TOKEN_FILE")
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
		return found, &poller.Error{Reason: poller.NotFound, Err: errors.New("ALIBABA_CLOUD_ECS_METADATA_DISABLED is set")}
	}
	var token []byte
	get := func(method, path, header, value string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, "http://100.100.100.200/latest/"+path, nil)
		if err != nil {
			return nil, err
		}
		if value != "" {
			req.Header.Set("X-Aliyun-Ecs-Metadata-Token"+header, value)
		}
		return c.Send(ctx, Request{Request: req, What: "metadata service 100.100.100.200, " + method + " " + path, Direct: true})
	}
	look := func() error {
		const path = "meta-data/ram/security-credentials/"
		name, session := []byte(cmp.Or(role, env("ECS_METADATA"))), strings.TrimSpace(string(token))
		if len(name) == 0 {
			if name, err = get(http.MethodGet, path, "", session); err != nil {
				return err
			}
		}
		role := strings.TrimSpace(string(name))
		found, err = parse(get(http.MethodGet, path+url.PathEscape(role), "", session))
		found.Source = " " + role
		return err
	}
	if token, err = get(http.MethodPut, "api/token", "-Ttl-Seconds", "300"); err == nil {
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
	found, err = c.machine(ctx, role)
	if where = "ECS role"; err == nil || role != "" || uri != "" && !because(err, poller.NotFound, poller.Connection, poller.Timeout) {
		return found, where, err
	}
	if uri == "" {
		return found, "no access key in the environment, no profile, no credentials URI; ECS role", err
	}
	where = "ALIBABA_CLOUD_CREDENTIALS_URI"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil || req.URL.Host == "" {
		return found, where, errors.New("not a URL") // not shown: it may have a secret
	}
	secrets := []string{strings.Trim(req.URL.RequestURI(), "/")}
	found, err = parse(c.Send(ctx, Request{Request: req, What: "GET", Secrets: secrets}))
	return found, where + ", host " + req.URL.Host, err
}
