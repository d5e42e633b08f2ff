# Everything here needs Go, git and make, and nothing else. A bare `make` says
# what there is.

export GOFLAGS := $(GOFLAGS) -buildvcs=false

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# The race detector needs a C compiler; the program itself never does.
CAN_RACE = printf '\043include <stdlib.h>\nint main(void) { return 0; }\n' | $$(go env CC) -x c -o /dev/null - 2>/dev/null

# The black-box tests take their time and have a target of their own.
PACKAGES = $$(go list ./... | grep -v '/conformance$$')

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/deferd, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/deferd ./cmd/deferd

.PHONY: demo
demo: build ## deploy a model that reads digits, and send it real work
	bin/deferd demo

.PHONY: test
test: ## run the tests, with the race detector where there is a C compiler
	@if $(CAN_RACE); then \
		echo 'go test -race'; CGO_ENABLED=1 go test -race $(PACKAGES); \
	else \
		echo 'go test (there is no C compiler for -race)'; CGO_ENABLED=0 go test $(PACKAGES); \
	fi

.PHONY: conformance
conformance: ## run AWS clients against the real binary, kill it, and count; prints who can do what
	cd conformance/gowalk && go vet ./... && go fix -diff ./...
	go test -count=1 -timeout 30m -v ./conformance

.PHONY: torture
torture: build ## break a server again and again, and judge what it promised (ROUNDS=60 SEED=1)
	bin/deferd torture --rounds $(or $(ROUNDS),60) $(if $(SEED),--seed $(SEED))

.PHONY: check
check: check-format check-vet check-staticcheck check-fix check-layers check-build check-generated check-vulnerabilities ## run what has to hold before the tests

.PHONY: check-format
check-format:
	@echo 'check: format'
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "gofmt would change:"; echo "$$files"; exit 1; }

.PHONY: check-vet
check-vet:
	@echo 'check: vet'
	@go vet ./...

.PHONY: check-staticcheck
check-staticcheck:
	@echo 'check: staticcheck'
	@go tool staticcheck ./...

.PHONY: check-fix
check-fix:
	@echo 'check: go fix'
	@go fix -diff ./...

.PHONY: check-layers
check-layers:
	@echo 'check: layers and package comments'
	@go test -count=1 ./internal/layers

.PHONY: check-build
check-build:
	@echo 'check: builds without C'
	@CGO_ENABLED=0 go build ./...

# All files' content, as one hash; files that git ignores do not count.
TREE = git ls-files --cached --others --exclude-standard --deduplicate | \
	while read -r f; do [ ! -f "$$f" ] || echo "$$f"; done | \
	git hash-object --no-filters --stdin-paths | git hash-object --stdin

.PHONY: check-generated
check-generated:
	@echo 'check: generated files'
	@git rev-parse --git-dir >/dev/null && before=$$($(TREE)) && go generate ./... && [ "$$before" = "$$($(TREE))" ] || \
		{ echo 'generated files are stale, or cannot be made'; git status --short; exit 1; }

.PHONY: check-vulnerabilities
check-vulnerabilities:
	@echo 'check: vulnerabilities'
	@out=$$(go tool govulncheck ./... 2>&1) || case "$$out" in \
		*'fetching vulnerabilities: '*) echo 'left out: https://vuln.go.dev cannot be reached' ;; \
		*) echo "$$out"; exit 1 ;; \
	esac

# How long each fuzz target runs.
FUZZTIME ?= 10s

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@go list ./... | while read -r package; do \
		for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz'); do \
			echo "fuzz: $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$package" </dev/null || exit 1; \
		done; \
	done

# Each is made, compiled and run: $(1) are its macros, $(2) how it is compiled,
# $(3) how it is run.
check_model = cd $$dir && spin -a $(1) $(CURDIR)/docs/design/lease.pml >/dev/null && \
	$(CC) -O2 -DCOLLAPSE $(2) -o pan pan.c && ./pan -m200000 $(3) >out; grep -h 'errors:' out

.PHONY: model
model: ## check the model of leases; needs spin and a C compiler
	@for tool in spin $(CC); do \
		command -v $$tool >/dev/null || { echo "make model needs $$tool (Debian has packages spin and gcc)"; exit 1; }; \
	done; \
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT; \
	expect() { case "$$2" in *"errors: $$1"*) echo "model: $$3" ;; *) echo "model: FAILED: $$3"; exit 1 ;; esac; }; \
	expect 0 "$$($(call check_model,,-DNFAIR=3,-a -f -N ends))" 'what was accepted ends, and only the current lease settles' && \
	expect 0 "$$($(call check_model,,,-a -N stays))" 'no result changes' && \
	expect 1 "$$($(call check_model,-DUNFENCED,-DNOCLAIM -DSAFETY))" 'without fencing it would be found wrong' && \
	expect 1 "$$($(call check_model,-DCOUNTED,-DNOCLAIM -DSAFETY))" 'with counted leases it would be found wrong'

.PHONY: bench
bench: build ## measure, each figure beside the same work without the queue
	go run ./bench

.PHONY: test-peers
test-peers: ## run the programs that deferd is measured beside; they want Redis and PostgreSQL
	cd bench/peers && go vet ./... && go fix -diff ./... && go test -timeout 5m ./...

.PHONY: clean
clean: ## remove what make built
	rm -rf bin
