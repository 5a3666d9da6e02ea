package ram

import (
	"bytes"
	"cmp"
	"context"
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

// assume returns a session of the role of p from STS, for the credentials with or, if nil, for the token of an OIDC provider.
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

// identityToken returns the OIDC token of p.
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

const metadataToken = "api/token"

// Metadata returns the response of the ECS metadata service to GET, in a new session.
func (send Send) Metadata(ctx context.Context, path string) (string, error) {
	token, err := send.metadata(ctx, http.MethodPut, metadataToken, "")
	if err != nil {
		return "", err
	}
	body, err := send.metadata(ctx, http.MethodGet, path, string(token))
	return string(body), err
}

// metadata sends a request to the ECS metadata service, which has HTTP only, because it is local to the machine.
func (send Send) metadata(ctx context.Context, method, path, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://100.100.100.200/latest/"+path, nil)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPut {
		req.Header.Set("X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds", "3600")
	} else if token != "" {
		req.Header.Set("X-Aliyun-Ecs-Metadata-Token", token)
	}
	what := "metadata service 100.100.100.200, " + method + " " + strings.TrimPrefix(req.URL.Path, "/latest/")
	body, err := send(ctx, Request{Request: req, What: what, Secrets: []string{token}, Direct: true})
	return bytes.TrimSpace(body), err
}

// machine returns a session of the role of this ECS instance. It requests the name of the role if role is empty.
func (c *Chain) machine(ctx context.Context, role string) (found Credentials, err error) {
	if enabled("ECS_METADATA_DISABLED") {
		return found, &poller.Error{Reason: poller.NotFound, Err: errors.New("ALIBABA_CLOUD_ECS_METADATA_DISABLED is set")}
	}
	session := func(token string) (err error) {
		const path = "meta-data/ram/security-credentials/"
		name := cmp.Or(role, env("ECS_METADATA"))
		if name == "" {
			body, err := c.Send.metadata(ctx, http.MethodGet, path, token)
			if err != nil {
				return err
			}
			name = string(body)
		}
		found, err = parse(c.Send.metadata(ctx, http.MethodGet, path+url.PathEscape(name), token))
		found.Source = " " + name
		return err
	}
	token, err := c.Send.metadata(ctx, http.MethodPut, metadataToken, "")
	if err == nil {
		err = session(string(token))
	}
	if err == nil || enabled("IMDSV1_DISABLED") {
		return found, err
	}
	// Like the vendor's SDKs: in a container, the response to PUT may not arrive, and an old service has no PUT.
	if v1 := session(""); v1 == nil || because(err, poller.NotFound) {
		err = v1
	}
	return found, err
}

// because reports whether err is a failed request for one of reasons.
func because(err error, reasons ...poller.Reason) bool {
	e, ok := errors.AsType[*poller.Error](err)
	return ok && slices.Contains(reasons, e.Reason)
}

// implicit returns a session of the role of this machine or, if it has none, from the credentials URI.
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
		return found, where, errors.New("not a URL") // not shown: it may contain a secret
	}
	secrets := []string{strings.Trim(req.URL.RequestURI(), "/")}
	found, err = parse(c.Send(ctx, Request{Request: req, What: "GET", Secrets: secrets}))
	return found, where + ", host " + req.URL.Host, err
}
