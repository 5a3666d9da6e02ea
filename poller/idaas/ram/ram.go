// Package ram signs requests to Alibaba Cloud's OpenAPI with the RAM credentials that the vendor's default chain finds.
package ram

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
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
	empty := sha256.Sum256(nil)
	headers := map[string]string{
		"host":                  req.URL.Host,
		"x-acs-action":          action,
		"x-acs-version":         version,
		"x-acs-date":            time.Now().UTC().Format(time.RFC3339),
		"x-acs-signature-nonce": rand.Text(),
		"x-acs-content-sha256":  hex.EncodeToString(empty[:]),
	}
	if c.SecurityToken != "" {
		headers["x-acs-accesskey-id"], headers["x-acs-security-token"] = c.AccessKeyId, c.SecurityToken
	}
	names := slices.Sorted(maps.Keys(headers))
	canonical := req.Method + "\n/\n" + req.URL.RawQuery + "\n"
	for _, name := range names {
		canonical += name + ":" + headers[name] + "\n"
		if name != "host" {
			req.Header.Set(name, headers[name])
		}
	}
	signed := strings.Join(names, ";")
	canonical += "\n" + signed + "\n" + headers["x-acs-content-sha256"]
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(c.AccessKeySecret))
	mac.Write([]byte(algorithm + "\n" + hex.EncodeToString(digest[:])))
	signature := hex.EncodeToString(mac.Sum(nil))
	req.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyId+",SignedHeaders="+signed+",Signature="+signature)
	return []string{c.AccessKeySecret, c.SecurityToken, signature}, nil
}

const algorithm = "ACS3-HMAC-SHA256"

// Forget has credentials found anew by the next Sign: those in use are refused, and the chain reads a file only once.
func (s *Signer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chain = nil
}

// credentials asks the chain, which heeds no context, sends what it knows along with its errors, takes answers for whole
// and, once all its sources have failed, keeps to the last of them.
func (s *Signer) credentials(ctx context.Context) (*providers.Credentials, error) {
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
			return nil, told(err)
		}
		for _, text := range []string{c.AccessKeyId, c.AccessKeySecret, c.SecurityToken} {
			if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return nil, errors.New("what " + c.ProviderName + " gives has characters that no RAM credentials have")
			}
		}
		return c, nil
	})
}

// harmless is what may be repeated of the chain's errors: others hold whole files and answers.
var harmless = regexp.MustCompile(strings.Join([]string{
	`Access key (ID|secret) must be specified via environment variable \(\w+\)`,
	`(open|read) [^\s:,]+: [a-z ]+`,
	`reading aliyun cli config`,
	`unmarshal aliyun cli config from '[^'\s]+' failed`,
	`no any configured profiles`,
	`unable to get profile`,
	`unsupported profile mode`,
	`Can not load section`,
	`key-value delimiter not found`,
	`(Failed to get|Can not find) (value|credential( type)?)`,
	`failed to execute external command`,
	`command process timed out`,
	`dial tcp[\w .:\[\]/-]*`,
	`Client\.Timeout exceeded`,
	`(x509|tls): [\w .:-]+`,
	`http://100\.100\.100\.200[\w./-]* \d{3}\b`,
	`httpStatus: \d+`,
	`Code is not Success`,
	`fail to get credentials`,
	`json.Unmarshal fail`,
	`"Code" ?: ?"[\w.]+"`,
}, "|"))

func told(err error) error {
	parts := slices.Compact(harmless.FindAllString(err.Error(), -1))
	if parts == nil {
		return errors.New("why is not shown, as it may hold secrets")
	}
	return errors.New(strings.Join(parts, "; "))
}
