# Everything that is not Go itself is installed here, pinned, into .tools; nothing needs to be there before.
TOOLS         := $(CURDIR)/.tools
GOLANGCI_LINT := v2.15.0
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS       := -s -w -X github.com/prometheus/common/version.Version=$(VERSION)

export GOBIN   := $(TOOLS)/bin
export GOFLAGS := -buildvcs=false

.PHONY: run test lint build bench

run: ## the demo
	go run . demo

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/idaas-token-exporter .

test: lint
	go test -race ./...

lint: $(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT)
	go vet ./...
	$< run ./...

bench:
	go test -run '^$$' -bench . -benchmem ./...

$(TOOLS)/bin/golangci-lint-$(GOLANGCI_LINT):
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv $(TOOLS)/bin/golangci-lint $@
