# Tools are installed into .tools with pinned versions.
TOOLS         := $(CURDIR)/.tools
GOLANGCI_LINT := v2.15.0
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS       := -s -w -X github.com/prometheus/common/version.Version=$(VERSION)
# Executions, not seconds: with a time limit Go 1.26 may fail a target that found nothing (golang/go#75804).
FUZZTIME      ?= 5000x
FUZZED        := ./config ./poller/idaas

export GOBIN   := $(TOOLS)/bin
export GOFLAGS := -buildvcs=false

.PHONY: run test e2e lint unit fuzz slow cluster timeline timelines rhythm lives build bench screenshot

run:
	go run . demo

# Everything that needs only Go. Takes minutes.
test: lint
	$(MAKE) --no-print-directory -C deploy/e2e rules short
	go test -race ./...

lint: $(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT)
	go mod tidy -diff
	go vet ./...
	$< run ./...

# End-to-end tests of the built binary. make e2e-systemd runs one part; deploy/e2e/Makefile lists the parts.
e2e: fuzz
	$(MAKE) --no-print-directory -C deploy/e2e all

e2e-%:
	$(MAKE) --no-print-directory -C deploy/e2e $*

# Fuzzing. The seeds run in every test.
fuzz:
	@for package in $(FUZZED); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep ^Fuzz); do \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$package || exit 1; \
	  done; \
	done

# All tests by time, the slowest first.
slow:
	go test -count=1 -json ./... >$(TOOLS)/slow.json; \
	go run gotest.tools/gotestsum@v1.13.0 tool slowest --threshold 100ms --jsonfile $(TOOLS)/slow.json
	$(MAKE) --no-print-directory -C deploy/e2e slow

# Updates the picture of the status page in the README.
screenshot:
	$(MAKE) -C deploy/e2e screenshot

# The chart on a Kubernetes node. Compiles another 30 minutes the first time.
cluster:
	$(MAKE) -C deploy/e2e cluster

# One scenario of deploy/e2e/timeline, in virtual time: make timeline SCENARIO=api_down
timeline:
	@cd deploy/e2e && go test ./timeline -count=1 -v -run 'TestScenarios/^$(SCENARIO)$$' -show

# Updates the golden timelines and the timelines in deploy/prometheus/README.md.
timelines:
	cd deploy/e2e && go test ./timeline -count=1 -timeout 20m -run 'TestScenarios|TestKept|TestReadme' -update

# False alarms by kind of consumer, as in README.md of the rules, which it writes anew: make rhythm EACH=10
rhythm:
	mkdir -p $(TOOLS)
	go test ./poller -count=1 -timeout 60m -v -run TestRhythm -rhythm.lives $(or $(EACH),2) >$(TOOLS)/rhythm.log; cat $(TOOLS)/rhythm.log
	cd deploy/e2e && RHYTHM=$(TOOLS)/rhythm.log go test ./rules -count=1 -run TestRhythmTable

# Random scenarios: make lives SEED=7 LIVES=4 TARGETS=130 WEEKS=1
lives:
	cd deploy/e2e && go test ./timeline -count=1 -v -timeout 0 -run TestLives \
	  -seed $(or $(SEED),$(shell date +%s)) -lives $(or $(LIVES),4) -targets $(or $(TARGETS),130) -weeks $(or $(WEEKS),1)

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/idaas-token-exporter .

# Benchmarks of packages and of processes.
bench:
	go test -run '^$$' -bench . -benchmem ./...
	$(MAKE) -C deploy/e2e bench

$(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT):
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv $(TOOLS)/bin/golangci-lint $@
