// Package ram signs requests to Alibaba Cloud's OpenAPI with the RAM credentials that the vendor's default chain finds.
package ram

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aliyun/credentials-go/credentials/providers"

	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// Signer signs requests. It is safe for concurrent use.
type Signer struct {
	Timeout time.Duration // to find credentials

	mu    sync.Mutex
	chain *providers.DefaultCredentialsProvider // nil: to be made anew
}

// Sign completes req, whose body is empty and whose query is in plain percent-encoding, as a call of action. It returns what of
// it is not to be shown. Its error shows nothing secret, and comes within the timeout.
func (s *Signer) Sign(ctx context.Context, req *http.Request, action, version string) (secrets []string, err error) {
	c, err := s.credentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("no RAM credentials: %w", err)
	}
	bodySum := fmt.Sprintf("%x", sha256.Sum256(nil))
	headers := map[string]string{
		"host": req.URL.Host, "x-acs-action": action, "x-acs-version": version, "x-acs-content-sha256": bodySum,
		"x-acs-date": time.Now().UTC().Format(time.RFC3339), "x-acs-signature-nonce": rand.Text(),
	}
	if c.SecurityToken != "" {
		headers["x-acs-accesskey-id"], headers["x-acs-security-token"] = c.AccessKeyId, c.SecurityToken
	}
	names, lines := slices.Sorted(maps.Keys(headers)), ""
	for _, name := range names {
		req.Header.Set(name, headers[name])
		lines += name + ":" + headers[name] + "\n"
	}
	req.Header.Del("host")
	const algorithm = "ACS3-HMAC-SHA256"
	signed := strings.Join(names, ";")
	request := strings.Join([]string{req.Method, "/", req.URL.RawQuery, lines, signed, bodySum}, "\n")
	mac := hmac.New(sha256.New, []byte(c.AccessKeySecret))
	fmt.Fprintf(mac, "%s\n%x", algorithm, sha256.Sum256([]byte(request)))
	signature := fmt.Sprintf("%x", mac.Sum(nil))
	req.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyId+",SignedHeaders="+signed+",Signature="+signature)
	return []string{c.AccessKeySecret, c.SecurityToken, signature}, nil
}

// Forget has credentials found anew by the next Sign: those in use are refused, and the chain reads a file only once.
func (s *Signer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chain = nil
}

// credentials asks the chain, which heeds no context, repeats what it read in its errors, takes answers for whole and, once
// all its sources have failed, keeps to the last of them.
func (s *Signer) credentials(ctx context.Context) (*providers.Credentials, error) {
	if slices.Contains(strings.Split(os.Getenv("DEBUG"), ","), "credential") {
		return nil, errors.New("with DEBUG=credential their library prints secrets: unset it")
	}
	s.mu.Lock()
	if s.chain == nil {
		s.chain = providers.NewDefaultCredentialsProvider()
	}
	chain := s.chain
	s.mu.Unlock()
	return disk.Do(ctx, s.Timeout, "ask", "their sources", func() (c *providers.Credentials, err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("an answer of their source lacks something")
			}
			if err != nil {
				s.Forget()
			}
		}()
		if c, err = chain.GetCredentials(); err != nil {
			told := slices.Compact(regexp.MustCompile(harmless).FindAllString(err.Error(), -1))
			return nil, errors.New(strings.Join(append(told, "what else was said is not shown, as it may hold secrets"), "; "))
		}
		if strings.ContainsFunc(c.AccessKeyId+c.AccessKeySecret+c.SecurityToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("what " + c.ProviderName + " gives has characters that no RAM credentials have")
		}
		return c, nil
	})
}

// harmless matches what may be repeated of the chain's errors, which hold whole files and answers.
const harmless = `Access key (ID|secret) must be specified via environment variable \(\w+\)|(open|read) [^\s:,]+: [a-z ]+` +
	`|reading aliyun cli config|unmarshal aliyun cli config from '[^'\s]+' failed|no any configured profiles|unable to get profile` +
	`|unsupported profile mode|Can not load section|Can not find credential type|key-value delimiter not found|Failed to get \w+` +
	`|failed to execute external command|command process timed out|dial tcp[\w .:\[\]/-]*|Client\.Timeout exceeded|(x509|tls): [\w .:-]+` +
	`|http://100\.100\.100\.200[\w./-]* \d{3}\b|httpStatus: \d+|Code is not Success|fail to get credentials|json\.Unmarshal fail|"Code" ?: ?"[\w.]+"`
