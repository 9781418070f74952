# One command surface for people and CI. Needs Python 3.11+ and the package registry, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Not quiet: pip shows each package that it downloads.
PIP := $(BIN)/pip --disable-pip-version-check
TRAINING := .venv-training
NPM := $(shell command -v npm)

.PHONY: setup run test lint lint-page extension train bench bench-load bench-jobs bench-scale bench-formats bench-flame bench-quality soak hostile fuzz clean

setup: $(VENV)/.runtime

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@$(PYTHON) -m venv $(VENV) || (echo "No virtual environment: on Debian, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1)
	@touch $@

$(VENV)/.runtime: $(VENV)/.python requirements.txt requirements-rembg.txt
	@echo "Installing packages into $(VENV): about 370 MB, once."
	$(PIP) install -r requirements.txt
	$(PIP) install --no-deps -r requirements-rembg.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt requirements-jobs.txt
	@echo "Installing the packages of the tests into $(VENV): about 650 MB, once."
	$(PIP) install -r requirements-dev.txt
	@touch $@

$(TRAINING)/.ready: training/requirements.txt requirements.txt
	@echo "Installing torch and the packages of the service into $(TRAINING): about 1.2 GB without CUDA, once."
	@$(PYTHON) -m venv $(TRAINING)
	$(TRAINING)/bin/pip --disable-pip-version-check install -r training/requirements.txt
	@touch $@

run: setup
	@exec $(BIN)/python -m app serve

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Scripts of the web page and of the extension: format, types, web-ext's checks.
lint-page: $(if $(NPM),node_modules/.stamp)
	$(if $(NPM),npm run --silent lint,@echo "npm is missing: the scripts of the web page and the extension are not checked")

node_modules/.stamp: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# Browser extension: ZIPs, and folders that browsers load unpacked.
extension:
	@$(PYTHON) -m tools.pack_extension build/extension

# torch is large: without REQUIRE_INTEGRATION=1, it is not installed and the tests that need it are skipped.
ifeq ($(REQUIRE_INTEGRATION),1)
test: lint lint-page $(TRAINING)/.ready
	$(BIN)/pytest --ignore=tests/training
	$(TRAINING)/bin/pytest tests/training
else
test: lint lint-page
	$(BIN)/pytest
endif

# make train DATA=folder ARGS="--steps 20000"; training/README.md explains it.
train: $(TRAINING)/.ready
	@test -n "$(DATA)" || (echo "Name a folder of photos: make train DATA=folder" >&2; exit 2)
	@exec $(TRAINING)/bin/python -m training --data "$(DATA)" $(ARGS)

# make bench ARGS="--photos 0.7 --seconds 5"; docs/performance.md is generated from bench.json.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.vs_rembg --json bench.json $(ARGS)

bench-load: $(VENV)/.dev
	$(BIN)/python -m benchmarks.load $(ARGS)

# make bench-jobs ARGS="--quick", or "--write" for the section of docs/performance.md.
bench-jobs: $(VENV)/.dev
	$(BIN)/python -m benchmarks.jobs $(ARGS)

# make bench-scale ARGS="--write" for the tables of docs/scaling.md.
bench-scale: $(VENV)/.dev
	@mkdir -p build
	MODEL_NAME=lite $(BIN)/python -m benchmarks.load --clients 4 --json build/load.json
	$(BIN)/python -m benchmarks.scale_check --json build/scale-check.json
	$(BIN)/python -m benchmarks.scale build/load.json build/scale-check.json $(ARGS)

bench-formats: $(VENV)/.dev
	$(BIN)/python -m benchmarks.formats $(ARGS)

# make bench-flame ARGS="--write" for docs/images/flame.svg.
bench-flame: $(VENV)/.dev
	MODEL_NAME=lite $(BIN)/python -m benchmarks.flame $(ARGS)

# make bench-quality ARGS="--data FOLDER --write"; docs/quality.md is generated.
bench-quality: $(VENV)/.dev
	$(BIN)/python -m benchmarks.quality $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.soak

hostile: $(VENV)/.dev
	$(BIN)/python -m benchmarks.hostile $(ARGS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz.fuzz_decode
	$(BIN)/python -m tests.fuzz.fuzz_bodies

clean:
	rm -rf $(VENV) node_modules build .venv-rembg $(TRAINING) bench.json .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
