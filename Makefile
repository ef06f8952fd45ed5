# All that a fresh machine needs is Go, git and make. `make` lists the targets.

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
SEEDS   ?= 300

# Both binaries are static: they run on nodes that are not this machine.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)"
TOOL  = $(GO) tool -modfile=tools/go.mod
GOFMT = "$$($(GO) env GOROOT)/bin/gofmt"

BENCHED  ?= ./reconciler/... ./render/... ./test/...
BENCHTIME ?= 1s
NODES     ?= 1000
IDLE      ?= 5000

LINTER = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster test e2e check lint bench bench-cluster sim mutants build image sluice report

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '%-14s %s\n' "$$name" "$$what"; done

demo: sluice ## tell the whole story on this machine: push, pull request, merge, drift, revert
	@bin/sluice demo

demo-cluster: ## the story on a Kubernetes cluster that is made for it on this machine: the chart, two controllers, six nodes; some minutes
	@plane=$$(GO="$(GO)" test/controlplane/build.sh) && helm=$$(GO="$(GO)" test/chart/helm.sh) && \
	mkdir -p bin && $(GO) test -c -o bin/demo-cluster ./test/e2e/kube && \
	SLUICE_DEMO=1 SLUICE_CONTROLPLANE="$$plane" SLUICE_HELM="$$helm" bin/demo-cluster -test.run '^TestStory$$' -test.timeout 30m

test: report ## gofmt, vet and every test, with -race where a C compiler is present
	@unformatted=$$($(GOFMT) -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then printf 'these files want gofmt -w:\n%s\n' "$$unformatted" >&2; exit 1; fi
	@$(GO) vet ./...
	@plane=$$(GO="$(GO)" test/controlplane/build.sh) || { \
		echo 'the control plane for tests cannot be built here' >&2; [ "$$CI" != true ] || exit 1; \
		echo 'the tests that need it are skipped' >&2; plane=; }; \
	helm=$$(GO="$(GO)" test/chart/helm.sh) || { \
		echo 'helm cannot be built here' >&2; [ "$$CI" != true ] || exit 1; \
		echo 'the tests that need it are skipped' >&2; helm=; }; \
	promtool=$$(GO="$(GO)" test/promtool/build.sh) || { \
		echo 'promtool cannot be built here' >&2; [ "$$CI" != true ] || exit 1; \
		echo 'the tests of alerts and dashboard are skipped' >&2; promtool=; }; \
	SLUICE_CONTROLPLANE="$$plane" SLUICE_HELM="$$helm" SLUICE_PROMTOOL="$$promtool" bin/report test $(TESTFLAGS) ./...

e2e: ## Sluice whole on a real API server: the chart, two controllers, twelve agents, all that can go wrong; ten minutes
	@plane=$$(GO="$(GO)" test/controlplane/build.sh) && helm=$$(GO="$(GO)" test/chart/helm.sh) && \
	SLUICE_E2E=all SLUICE_CONTROLPLANE="$$plane" SLUICE_HELM="$$helm" \
		$(GO) test -count=1 -v -timeout 60m $(TESTFLAGS) ./test/e2e/kube

# gofumpt passes over test/controlplane, a module of its own: each change of its bytes builds a whole control plane anew.
check: test ## test, and staticcheck and gofumpt as pinned in tools/go.mod
	@$(TOOL) staticcheck ./...
	@unformatted=$$($(TOOL) gofumpt -l $$(git ls-files '*.go' ':!test/controlplane')) || exit 1; \
	if [ -n "$$unformatted" ]; then printf 'these files want gofumpt -w:\n%s\n' "$$unformatted" >&2; exit 1; fi

lint: ## golangci-lint with .golangci.yml, where it is installed
	@command -v golangci-lint >/dev/null || { \
		echo 'golangci-lint is not installed. Get it with:' >&2; \
		echo '  $(GO) install $(LINTER)' >&2; exit 1; }
	@golangci-lint run

bench: report ## the benchmarks, as a table
	@bin/report bench -benchtime $(BENCHTIME) $(BENCHED)

bench-cluster: ## one controller and NODES nodes with their agents on a real API server, then IDLE nodes without, as a table; twenty minutes
	@plane=$$(GO="$(GO)" test/controlplane/build.sh) && helm=$$(GO="$(GO)" test/chart/helm.sh) && \
	SLUICE_SCALE=$(NODES) SLUICE_SCALE_IDLE=$(IDLE) SLUICE_CONTROLPLANE="$$plane" SLUICE_HELM="$$helm" \
		$(GO) test -count=1 -v -timeout 120m -run '^TestScale' ./test/e2e/kube

sim: sluice ## 300 seeded worlds of fake nodes and faults; SEEDS=N for more
	@bin/sluice sim --seeds $(SEEDS)

mutants: ## break the controller's mind in some sixty small ways, and name who notices; some minutes
	@$(GO) run ./test/mutants

build: sluice ## bin/sluice, bin/sluice-agent, and bin/kubectl-sluice for kubectl
	$(BUILD) -o bin/sluice-agent ./cmd/sluice-agent
	@ln -sf sluice bin/kubectl-sluice

sluice:
	$(BUILD) -o bin/sluice ./cmd/sluice

# Without the state of the working copy, and without symbols: what is built of a commit is always the same.
image: ## bin/image.tar: the container image for amd64 and arm64, made without an engine and inspected
	@for arch in amd64 arm64; do \
		mkdir -p bin/image/$$arch; \
		GOOS=linux GOARCH=$$arch CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" \
			-o bin/image/$$arch/ ./cmd/sluice ./cmd/sluice-agent || exit 1; \
	done
	@$(GO) run -C tools ./image -binaries ../bin/image -out ../bin/image.tar -version "$(VERSION)" \
		-revision "$$(git rev-parse HEAD 2>/dev/null)" -epoch "$${SOURCE_DATE_EPOCH:-$$(git show -s --format=%ct HEAD 2>/dev/null || echo 0)}"

report:
	@$(GO) build -o bin/report ./test/report
