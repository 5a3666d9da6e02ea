package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/prometheus/common/model"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// What the exporter costs as a process, beside others that read as many pages of the same list:
// "get" only fetches them, by Go's client; "vendor" is the runtime that the vendor's Go SDKs are made of.

const (
	fastest  = 1000 // requests a second, the most that IDAAS_RATE_LIMIT takes
	pageSize = 100
	listPath = "/v2/idaas_simulator/authenticationTokens"
	provider = "orders_jwt"
)

// runPeer is what this binary does instead of testing when it is started as a peer.
func runPeer(peer string) int {
	pages, _ := strconv.Atoi(os.Getenv("E2E_PAGES"))
	address, token := os.Getenv("E2E_ADDRESS"), os.Getenv("E2E_ACCESS_TOKEN")
	read := map[string]func() error{"get": bareGet(address, token), "gauges": constGauges(address), "vendor": vendorCall(address, token)}[peer]
	// As fast as the exporter may: a process that sleeps in between pays more for each page.
	begin := time.Now()
	for i := range pages {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / fastest)))
		if err := read(); err != nil {
			fmt.Fprintln(os.Stderr, peer, err)
			return 1
		}
	}
	return 0
}

func bareGet(address, token string) func() error {
	client := &http.Client{Timeout: 10 * time.Second}
	url := "http://" + address + listPath + "?consumerId=" + consumer + "&credentialProviderIdentifier=" + provider +
		"&maxResults=" + strconv.Itoa(pageSize)
	return func() error {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
}

func vendorCall(address, token string) func() error {
	client, err := openapi.NewClient(&openapiutil.Config{Endpoint: dara.String(address), Protocol: dara.String("http")})
	return func() error {
		if err != nil {
			return err
		}
		answer, err := client.CallApi(&openapiutil.Params{
			Action: dara.String("ListAuthenticationTokens"), Version: dara.String("2022-02-25"), Protocol: dara.String("HTTP"),
			Pathname: dara.String(listPath), Method: dara.String("GET"), AuthType: dara.String("Anonymous"), Style: dara.String("ROA"),
			ReqBodyType: dara.String("json"), BodyType: dara.String("json"),
		}, &openapiutil.OpenApiRequest{
			Headers: map[string]*string{"Authorization": dara.String("Bearer " + token)},
			Query: map[string]*string{
				"consumerId": dara.String(consumer), "credentialProviderIdentifier": dara.String(provider),
				"maxResults": dara.String(strconv.Itoa(pageSize)),
			},
		}, &dara.RuntimeOptions{})
		if err != nil {
			return err
		}
		var page vendorPage
		if err := dara.Convert(answer, &page); err != nil || len(page.Body.Entities) != pageSize {
			return fmt.Errorf("%d tokens of %v: %w", len(page.Body.Entities), answer["statusCode"], err)
		}
		return nil
	}
}

// vendorPage is as the vendor's SDKs declare the answer, which they convert to it.
type vendorPage struct {
	Headers    map[string]*string `json:"headers,omitempty" xml:"headers,omitempty"`
	StatusCode *int32             `json:"statusCode,omitempty" xml:"statusCode,omitempty"`
	Body       struct {
		Entities []*struct {
			AuthenticationTokenID   *string `json:"authenticationTokenId,omitempty" xml:"authenticationTokenId,omitempty"`
			AuthenticationTokenType *string `json:"authenticationTokenType,omitempty" xml:"authenticationTokenType,omitempty"`
			ConsumerID              *string `json:"consumerId,omitempty" xml:"consumerId,omitempty"`
			ConsumerType            *string `json:"consumerType,omitempty" xml:"consumerType,omitempty"`
			CreateTime              *int64  `json:"createTime,omitempty" xml:"createTime,omitempty"`
			CredentialProviderID    *string `json:"credentialProviderId,omitempty" xml:"credentialProviderId,omitempty"`
			ExpirationTime          *int64  `json:"expirationTime,omitempty" xml:"expirationTime,omitempty"`
			InstanceID              *string `json:"instanceId,omitempty" xml:"instanceId,omitempty"`
			Revoked                 *bool   `json:"revoked,omitempty" xml:"revoked,omitempty"`
			UpdateTime              *int64  `json:"updateTime,omitempty" xml:"updateTime,omitempty"`
		} `json:"entities,omitempty" xml:"entities,omitempty" type:"Repeated"`
		NextToken  *string `json:"nextToken,omitempty" xml:"nextToken,omitempty"`
		TotalCount *int64  `json:"totalCount,omitempty" xml:"totalCount,omitempty"`
	} `json:"body,omitempty" xml:"body,omitempty"`
}

// million is an API with targets of many tokens each, of which one of live has not ended yet.
func million(b *testing.B, targets, tokens, live int) (sim *simulator.Server, address, token string) {
	b.Helper()
	sim = simulator.New(simulator.Config{
		Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}, AccessTokenLifetime: 10 * time.Hour,
	})
	now := time.Now()
	for n := range targets {
		sim.Generate(numbered(n), provider, tokens, func(i int) simulator.Token {
			end := now.Add(time.Hour + time.Duration(i)*time.Second)
			if i%live != 0 {
				end = now.Add(-time.Duration(i+1) * time.Second)
			}
			return simulator.Token{Created: now.Add(-24 * time.Hour), Updated: now.Add(-24 * time.Hour), Expires: end}
		})
	}
	api := httptest.NewServer(sim)
	b.Cleanup(api.Close)
	b.Cleanup(sim.Close)
	form := strings.NewReader("grant_type=client_credentials&client_id=exporter&client_secret=not+a+secret&scope=" + simulator.ReadScope)
	resp, err := http.Post(api.URL+simulator.TokenPath, "application/x-www-form-urlencoded", form)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	found := regexp.MustCompile(`"access_token":"([^"]+)"`).FindSubmatch(text)
	if err != nil || found == nil {
		b.Fatalf("no access token: %s %v", text, err)
	}
	return sim, strings.TrimPrefix(api.URL, "http://"), string(found[1])
}

// numbered is the id of a consumer.
func numbered(n int) string { return fmt.Sprintf("app_ngtkgrr0000ktg5eao6z4%05d", n) }

var consumer = numbered(0)

// peer returns the CPU time a peer takes to read as many pages, without that of its start.
func peer(b *testing.B, name, address, token string, pages int) time.Duration {
	b.Helper()
	return runAsPeer(b, name, address, token, pages) - runAsPeer(b, name, address, token, 0)
}

func runAsPeer(b *testing.B, name, address, token string, pages int) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "E2E_PEER="+name, "E2E_ADDRESS="+address, "E2E_ACCESS_TOKEN="+token, "E2E_PAGES="+strconv.Itoa(pages))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		b.Fatal(name, err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// cost is what a process took so far.
type cost struct {
	cpu       time.Duration
	peak, now float64 // MiB of memory
}

func costOf(b *testing.B, p *e2e.Process) cost {
	b.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.Cmd.Process.Pid, name))
		if err != nil {
			b.Fatal(err)
		}
		return string(text)
	}
	stat := strings.Fields(read("stat")[strings.LastIndex(read("stat"), ")")+1:])
	user, _ := strconv.Atoi(stat[11])
	system, _ := strconv.Atoi(stat[12])
	kilobytes := func(name string) float64 {
		n, _ := strconv.Atoi(regexp.MustCompile(name + `:\s+(\d+)`).FindStringSubmatch(read("status"))[1])
		return float64(n) / 1024
	}
	return cost{time.Duration(user+system) * 10 * time.Millisecond, kilobytes("VmHWM"), kilobytes("VmRSS")}
}

const (
	sizingBegin = "<!-- made by make -C deploy/e2e sizing -->"
	sizingEnd   = "<!-- end -->"
)

// BenchmarkWalk walks a list once: what that costs, and how many times more than only fetching the pages. SIZING names a file
// that the outcome is written to, as a table.
func BenchmarkWalk(b *testing.B) {
	const oneIn = 100 // tokens is live, where not all are
	var table strings.Builder
	table.WriteString("| tokens | walk | requests | schedule at 200 requests a minute | memory, at most | memory after | CPU |\n" +
		"|---|---|---|---|---|---|---|\n")
	for _, tokens := range []int{1_000, 10_000, 100_000, 1_000_000, 5_000_000} {
		for _, walk := range []string{"full", "live"} {
			b.Run(fmt.Sprint(tokens, "/", walk), func(b *testing.B) {
				if testing.Short() && tokens > 10_000 {
					b.Skip("short")
				}
				live := 1
				if walk == "live" {
					live = oneIn
				}
				for b.Loop() {
					ours, requests := walkOnce(b, tokens, live, walk)
					fmt.Fprintf(&table, "| %d | %s | %d | %v | %.0f MiB | %.0f MiB | %.2f s |\n", tokens, walk, requests,
						model.Duration(time.Duration((requests+199)/200)*time.Minute), ours.peak, ours.now, ours.cpu.Seconds())
				}
			})
		}
	}
	writeSizes(b, sizingBegin, table.String())
}

func walkOnce(b *testing.B, tokens, live int, walk string) (ours cost, requests int) {
	binary := e2e.Exporter(b)
	sim, address, token := million(b, 1, tokens, live)
	listen := e2e.FreeAddress(b)
	p := e2e.Start(b, []string{
		"IDAAS_INSTANCE_ID=idaas_simulator", "IDAAS_ENDPOINT=http://" + address, "IDAAS_TOKEN_ENDPOINT=http://" + address + simulator.TokenPath,
		"IDAAS_CLIENT_ID=exporter", "IDAAS_CLIENT_SECRET=not a secret",
		"IDAAS_TARGETS=" + consumer + ":" + provider, "IDAAS_POLL_SCHEDULE=@yearly", "IDAAS_RATE_LIMIT=" + strconv.Itoa(fastest),
		"IDAAS_REQUEST_TIMEOUT=1m", "IDAAS_WALK=" + walk, "IDAAS_LISTEN_ADDRESS=" + listen,
	}, binary)
	total := fmt.Sprintf("idaas_authentication_tokens{consumer=%q,credential_provider=%q} %v\n", consumer, provider, float64(tokens))
	e2e.Eventually(b, 10*time.Minute, "the walk", func() error {
		// Not by scrapes, which cost something.
		if walk == "full" && sim.Requests(simulator.List)*pageSize < tokens {
			return errors.New("not all pages were asked for")
		}
		text, err := e2e.Get(b.Context(), "http://"+listen+"/metrics")
		if err == nil && !strings.Contains(text, total) {
			err = fmt.Errorf("not yet %s", total)
		}
		return err
	})
	ours, requests = costOf(b, p), sim.Requests(simulator.List)
	p.Stop(b)
	some := min(tokens/pageSize, 3000)
	perPage := func(d time.Duration, pages int) float64 { return float64(d.Microseconds()) / float64(pages) }
	mine := perPage(ours.cpu, requests)
	b.ReportMetric(float64(requests), "requests")
	b.ReportMetric(ours.cpu.Seconds(), "CPU-s")
	b.ReportMetric(mine, "CPU-µs/page")
	b.ReportMetric(ours.peak, "MiB-peak")
	b.ReportMetric(ours.now, "MiB-after")
	if walk == "full" {
		b.ReportMetric(mine/perPage(peer(b, "get", address, token, some), some), "×get")
		b.ReportMetric(perPage(peer(b, "vendor", address, token, some), some)/mine, "vendor/×")
	}
	return ours, requests
}
