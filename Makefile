# Chores with their set-up. `make` lists them; each variable can be given another value: `make demo PROFILE=dev`.
# What these targets do is short on purpose: the work is done by cargo, by `cargo xtask` and by the binary itself.

CARGO ?= cargo
CC ?= cc
# How the demo is built; `release` optimises across crates and links for much longer.
PROFILE ?= release-fast
# Given to `cargo test`: `make test TEST_ARGS="-p stats"`. The whole workspace where it is empty.
TEST_ARGS ?=
# Given to the comparison, which then only prints: `make bench-peers BENCH_ARGS="--case Redis --quick"`.
BENCH_ARGS ?=

# The drivers that have no client library below them: a third of the build, and all that instructions are counted of.
WIRE_DRIVERS := drivers/mysql,drivers/postgres,drivers/redis,drivers/sqlite

# What checks take from package registries, kept between them.
CACHE := $(or $(STORELAB_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/storelab)
CHROMIUM ?= chromium

# Given on the command line where a program is built already.
STORELAB := $(CARGO) run --quiet --package storelab --
# The same without client libraries, for checks that need none of them.
STORELAB_LIGHT ?= $(CARGO) run --quiet --package storelab --no-default-features --features $(WIRE_DRIVERS) --

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: compiler ## Build Storelab and measure an embedded data store: two numbers and a report; minutes the first time.
	$(CARGO) build --profile $(PROFILE) --package storelab
	@$(CARGO) run --quiet --profile $(PROFILE) --package storelab -- run --accept-invalid

.PHONY: test
test: engines ## Run all tests, against real servers where they are installed, and count them.
	$(CARGO) xtask test $(TEST_ARGS)
	@$(STORELAB) engines list

.PHONY: engines
engines: compiler ## Install the servers that tests use and that take minutes (root on Debian), or say which are missing.
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  $(STORELAB) engines install all; code=$$?; \
	  command -v sysbench >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends sysbench || \
	    echo 'sysbench could not be installed; what is compared with it is not' >&2; \
	  exit $$code; \
	else \
	  $(STORELAB) engines list && \
	  echo 'Tests name the engines that are not installed as skipped; as root on Debian, `make engines` installs them.' >&2; \
	fi

.PHONY: engines-all
engines-all: compiler ## Install all servers, those too that are built from source: half an hour the first time.
	$(STORELAB) engines install all --builds

.PHONY: test-engines
test-engines: engines-all ## Install all servers, and run the conformance suite over every one of them, in every way.
	STORELAB_EVERY_WAY=1 $(CARGO) test -p testkit --test conformance
	STORELAB_EVERY_WAY=1 $(CARGO) test -p provision --test it

.PHONY: docs-api
docs-api: compiler ## Write docs/api/openapi.json: what the service says of its API.
	document="$$(mktemp)" && $(STORELAB_LIGHT) serve --openapi > "$$document" && mkdir -p docs/api && cp "$$document" docs/api/openapi.json; \
	code=$$?; rm -f "$$document"; exit $$code

.PHONY: docs-stores
docs-stores: engines-all ## Write docs/stores.md: what the drivers say of themselves, and what the suite says of every engine.
	matrix="$$(mktemp)" && STORELAB_EVERY_WAY=1 STORELAB_MATRIX="$$matrix" $(CARGO) test -q -p testkit --test conformance && \
	{ $(STORELAB) stores --markdown && printf '\n## What was tested\n\n' && cat "$$matrix"; } > docs/stores.md; \
	code=$$?; rm -f "$$matrix"; exit $$code

.PHONY: docs-configuration
docs-configuration: ## Write the table of docs/configuration.md, from the options themselves.
	page="$$(mktemp)" && { sed '/^| option |/,$$d' docs/configuration.md && $(STORELAB) config explain --markdown; } > "$$page" && \
	cat "$$page" > docs/configuration.md; code=$$?; rm -f "$$page"; exit $$code

.PHONY: bench-peers
bench-peers: compiler engines ## Measure Storelab against other load generators, in turn on the same servers, and write the results.
	@missing=; for program in sysbench redis-benchmark python3; do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	    sysbench redis-tools postgresql-contrib python3-venv || echo "not all of them could be installed:$$missing" >&2; \
	else echo "not installed:$$missing; what needs them is not measured" >&2; fi
	$(CARGO) build --release --package storelab --package peers
	$${CARGO_TARGET_DIR:-target}/release/peers --storelab $${CARGO_TARGET_DIR:-target}/release/storelab \
	  $(if $(BENCH_ARGS),$(BENCH_ARGS),--json docs/benchmarks.json --docs docs/benchmarks.md)

.PHONY: bench-stores
bench-stores: compiler ## Run YCSB B on every installed store, one after another, and write the report of all side by side.
	$(CARGO) build --release --package storelab
	$(CARGO) xtask bench-stores $${CARGO_TARGET_DIR:-target}/release/storelab

.PHONY: bench-knees
bench-knees: compiler engines ## Search for the knee of PostgreSQL and of Redis behind a narrow link, twice each, and show how far the two are apart.
	$(CARGO) build --release --package storelab
	$(CARGO) xtask knees $${CARGO_TARGET_DIR:-target}/release/storelab

.PHONY: bench-floors
bench-floors: compiler engines ## Measure drivers over a client library against a bare loop over the same library, and write the table.
	$(CARGO) build --release --package storelab --package floors
	$${CARGO_TARGET_DIR:-target}/release/floors --storelab $${CARGO_TARGET_DIR:-target}/release/storelab --docs docs/benchmarks.md

.PHONY: bench-service
bench-service: compiler ## Measure the service against its goals, ten minutes on a host without other work, and write the results.
	$(CARGO) build --release --package storelab --package service
	$${CARGO_TARGET_DIR:-target}/release/service --storelab $${CARGO_TARGET_DIR:-target}/release/storelab \
	  $(if $(BENCH_ARGS),$(BENCH_ARGS),--json docs/benchmarks-service.json --docs docs/benchmarks.md)

.PHONY: bench-instructions
bench-instructions: compiler ## Count the instructions of an operation and compare them with the expected; ACCEPT=1 takes them over.
	@if command -v valgrind >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends valgrind libc6-dbg || true; \
	fi
	$(CARGO) build --release --package instructions --bin drive
	$(CARGO) run --quiet --package instructions -- --drive $${CARGO_TARGET_DIR:-target}/release/drive $(if $(ACCEPT),--accept)

.PHONY: bench-history
bench-history: compiler ## Find change points beside Apache Otava (from PyPI) on the same series, and write the table.
	$(CARGO) build --release --package history
	$${CARGO_TARGET_DIR:-target}/release/history --docs docs/benchmarks.md

.PHONY: bench
bench: compiler ## Run the micro-benchmarks.
	$(CARGO) bench --workspace --bench '*'

.PHONY: miri
miri: ## Check the memory that is shared with the kernel under Miri, where a nightly toolchain has it.
	@if ! $(CARGO) +nightly miri --version >/dev/null 2>&1; then \
	  echo 'not checked under Miri; install it with: rustup toolchain install nightly --component miri,rust-src' >&2; \
	else MIRIFLAGS='-Zmiri-permissive-provenance' $(CARGO) +nightly miri test -p reactor kernel::tests; fi

# The service that is asked and looked at; built with the light drivers where none is given.
PROGRAM ?=

# Where the pages of a check lie, and its screenshots, for whoever wants to look at them.
REPORTS := $(CACHE)/report-check/pages

.PHONY: check-reports
check-reports: compiler ## Open every kind of report and the pages of a service in Chromium: no error, no barrier, nothing from elsewhere.
	@missing=; for program in $(CHROMIUM) node npm; do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	if [ -n "$$missing" ]; then echo "skipped: reports in a browser; not installed:$$missing" >&2; exit 0; fi; set -e; \
	rm -rf "$(REPORTS)"; mkdir -p "$(REPORTS)" "$(CACHE)/report-check"; cp tools/report-check/* "$(CACHE)/report-check"; \
	(cd "$(CACHE)/report-check" && npm ci --ignore-scripts --no-audit --no-fund --silent); \
	RESULTS_REPORT_FOLDER="$(REPORTS)" $(CARGO) test --quiet -p results -p storelab --no-default-features --features $(WIRE_DRIVERS) --lib -- report::; \
	STORELAB_HOME="$(REPORTS)/home" $(STORELAB_LIGHT) run memory: --rate 2000/s --arrivals poisson --warm-up 2s --for 8s --name "open load" \
	  --quiet --report "$(REPORTS)/run.html" || [ $$? = 4 ]; \
	program="$(PROGRAM)"; if [ -z "$$program" ]; then \
	  $(CARGO) build --quiet --package storelab --no-default-features --features $(WIRE_DRIVERS); \
	  program="$${CARGO_TARGET_DIR:-target}/debug/storelab"; \
	fi; \
	node "$(CACHE)/report-check/check.mjs" --storelab "$$(realpath "$$program")" --chromium "$$(command -v $(CHROMIUM))" --screenshots "$(REPORTS)/screenshots" "$(REPORTS)"/*.html

.PHONY: check-exports
check-exports: compiler ## Read a run in every format with the tools that others have for it, and compare what they say.
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo 'skipped: exports in foreign tools; python3-venv is not installed' >&2; exit 0; }; \
	set -e; folder="$$(mktemp -d)"; trap 'rm -rf "$$folder"' EXIT; export STORELAB_HOME="$$folder/home"; \
	python3 -m venv "$(CACHE)/export-check"; \
	"$(CACHE)/export-check/bin/pip" install --quiet --disable-pip-version-check -r tools/export-check/requirements.txt; \
	$(STORELAB_LIGHT) run memory: --rate 2000/s --arrivals poisson --warm-up 2s --for 8s --quiet --name exported || [ $$? = 4 ]; \
	for extension in $$($(STORELAB_LIGHT) export --formats | awk 'NR > 1 { print $$2 }'); do $(STORELAB_LIGHT) export exported --output "$$folder/run$$extension" >/dev/null; done; \
	jar=; if command -v mvn >/dev/null; then \
	  mvn --quiet dependency:copy -Dartifact=org.hdrhistogram:HdrHistogram:2.2.2 -DoutputDirectory="$(CACHE)/export-check/java"; \
	  jar="$(CACHE)/export-check/java/HdrHistogram-2.2.2.jar"; \
	else echo 'skipped: HistogramLogProcessor; Maven is not installed' >&2; fi; \
	"$(CACHE)/export-check/bin/python" tools/export-check/check.py "$$folder" $$jar

.PHONY: check-deploy
check-deploy: ## Have everything in deploy/ read by whom it is for: systemd, hadolint, Compose, Helm, Prometheus, dpkg.
	tools/deploy-check/check.sh "$(CACHE)"

# Requests that the API is asked at least; 10000 for a release: `make check-api CASES=10000`.
CASES ?= 1000
SEED ?= 1
.PHONY: check-api
check-api: compiler ## Ask a fresh service all that its OpenAPI document allows, and more, and judge the answers; CASES=10000 for long.
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo 'skipped: schemathesis; python3-venv is not installed' >&2; exit 0; }; \
	set -e; python3 -m venv "$(CACHE)/api-check"; \
	"$(CACHE)/api-check/bin/pip" install --quiet --disable-pip-version-check -r tools/api-check/requirements.txt; \
	program="$(PROGRAM)"; if [ -z "$$program" ]; then \
	  $(CARGO) build --quiet --package storelab --no-default-features --features $(WIRE_DRIVERS); \
	  program="$${CARGO_TARGET_DIR:-target}/debug/storelab"; \
	fi; \
	"$(CACHE)/api-check/bin/python" tools/api-check/check.py --storelab "$$program" \
	  --schemathesis "$(CACHE)/api-check/bin/schemathesis" --cases $(CASES) --seed $(SEED) --report "$(CACHE)/api-check/report"

CARGO_DEB_VERSION := 3.6.3

.PHONY: deb
deb: compiler ## Build the Debian package, with its unit, manual pages and completions, into the target folder.
	@$(CACHE)/tools/bin/cargo-deb --version 2>/dev/null | grep -qF '$(CARGO_DEB_VERSION)' || \
	  $(CARGO) install --quiet --locked --root "$(CACHE)/tools" --version $(CARGO_DEB_VERSION) cargo-deb
	$(CARGO) build --release --locked --package storelab
	@set -e; program="$${CARGO_TARGET_DIR:-target}/release/storelab"; made=deploy/debian/made; rm -rf $$made; mkdir -p $$made/man $$made/completions; \
	"$$program" man --folder $$made/man; "$$program" completions bash >$$made/completions/storelab.bash; \
	"$$program" completions zsh >$$made/completions/_storelab; "$$program" completions fish >$$made/completions/storelab.fish
	"$(CACHE)/tools/bin/cargo-deb" --package storelab --no-build

.PHONY: fmt
fmt: ## Format the sources.
	$(CARGO) fmt --all

.PHONY: lint
lint: compiler ## Check format, lints, documentation, the rules of the house, and what dependencies may be.
	$(CARGO) fmt --all --check
	$(CARGO) xtask tidy
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet
	@if command -v shellcheck >/dev/null; then shellcheck action/run.sh; \
	else echo 'not checked: action/run.sh; install shellcheck' >&2; fi
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
	  echo 'not checked: licences and sources of dependencies; install it with: cargo install --locked cargo-deny' >&2; \
	else \
	  $(CARGO) deny --log-level error check --hide-inclusion-graph licenses bans sources && \
	  if $(CARGO) deny --log-level off fetch db >/dev/null 2>&1; then \
	    $(CARGO) deny check advisories; \
	  else \
	    echo 'not checked: advisories; their database cannot be reached from here' >&2; \
	  fi; \
	fi

.PHONY: clean-local
clean-local: ## Remove what building and running left in this folder; kept results lie elsewhere and stay.
	$(CARGO) clean
	rm -f report*.html

# Rust is wanted here already; bundled SQLite and the cryptography of TLS are compiled by a C compiler.
.PHONY: compiler
compiler:
	@command -v $(firstword $(CARGO)) >/dev/null || \
	  { echo 'error: there is no cargo here' >&2; echo 'hint: install Rust from https://rustup.rs' >&2; exit 1; }
	@$(CARGO) --version >/dev/null || \
	  { echo 'hint: a newer Rust does too: RUSTUP_TOOLCHAIN=stable make $(MAKECMDGOALS)' >&2; exit 1; }
	@if command -v $(firstword $(CC)) >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends build-essential; \
	else \
	  echo 'error: there is no C compiler here' >&2; \
	  echo 'hint: install one; on Debian: sudo apt-get install build-essential' >&2; exit 1; \
	fi
