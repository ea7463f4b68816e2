# Everything sets itself up from Python >= 3.11: a virtual environment in .venv, pinned and hashed requirements.
#   make run     train the first champion of the example, serve it, watch it
#   make demo    months of traffic in minutes: drift, verdict, retraining, gate, promotion, rollback
#   make test    the tests        make check   tests + lint, types, import contracts
#   make slow    the slow tests (image build, soaks)        make lock   resolve the requirements again
#   make bench   Evergreen against its peers, and how cost grows (hours; needs wrk): docs/serving-benchmark.md

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
HOME_DIR ?= .evergreen
LOCK := pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11 -q
TEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint slow bench lock clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

run: $(VENV)/.ready examples/bikes/history.csv.gz
	@EVERGREEN_HOME=$(HOME_DIR) $(BIN)/evergreen up examples/bikes/model.yaml

demo: $(VENV)/.ready
	@$(BIN)/python examples/bikes/demo.py $(DEMO)

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -m "not slow" $(TESTS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile

check: test lint

slow: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m slow --timeout 1800 $(TESTS)

# BENCH are options of `run`, such as BENCH="--rounds 1 --seconds 2 --peers flask-sync"
bench: $(VENV)/.ready
	-$(BIN)/python -m benchmarks.serving setup
	-$(BIN)/python -m benchmarks.serving run --out .evergreen-bench/run.json $(BENCH)
	$(BIN)/python -m benchmarks.serving fronts --out .evergreen-bench/fronts.json
	$(BIN)/python -m benchmarks.serving report .evergreen-bench/run.json .evergreen-bench/fronts.json --into docs/serving-benchmark.md
	$(BIN)/python -m benchmarks.growth --out .evergreen-bench/growth.json

# One resolution for every platform; no index address may ever be written into these files.
lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv $(LOCK) requirements.in -o requirements.txt
	$(BIN)/uv $(LOCK) requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf $(VENV) .evergreen .evergreen-demo examples/bikes/*.csv.gz

examples/bikes/history.csv.gz: examples/bikes/stream.py | $(VENV)/.ready
	@echo "Making the example's stream (seeded) ..."
	@$(BIN)/python examples/bikes/stream.py --out examples/bikes

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Evergreen needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the pinned requirements (once; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	@echo "Installing what the tests need (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
