# Everything sets itself up from Python >= 3.11: a virtual environment in .venv, pinned and hashed requirements.
#   make run     train the first champion of the example, serve it, watch it
#   make observe  Prometheus, and Alertmanager where it is installed, beside `make run`
#   make demo    months of traffic in minutes: drift, verdict, retraining, gate, promotion, rollback
#   make test    the tests        make check   tests + lint, types, import contracts
#   make slow    the slow tests (image build, years, soaks; about an hour on two cores)        make lock   resolve the requirements again
#   make faults  kills, full disks, strangers, damaged bodies
#   make drills  one thing after another goes wrong under load: is who is on call told of it, of nothing else, and of its end?
#   make mutants  400 mutations of the pure rules, drawn by seed: do the tests notice?
#   make bench   Evergreen against its peers, and how cost grows (hours; needs wrk): docs/serving-benchmark.md

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
HOME_DIR ?= .evergreen
LOCK := pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11 -q
TEST_WORKERS ?= 3
SLOW_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run observe demo test check lint slow faults drills mutants bench lock dashboards clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -10

# Ctrl-C is how these end: the shell waits for them, and make has no error to report.
run: $(VENV)/.ready examples/bikes/history.csv.gz
	@trap 'exit 0' INT; EVERGREEN_HOME=$(HOME_DIR) $(BIN)/evergreen up examples/bikes/model.yaml

# what watches the watcher: the rules of monitoring/prometheus on both ports of `make run`
PROMETHEUS_BIND ?= 127.0.0.1:9090
ALERTMANAGER_BIND ?= 127.0.0.1:9093
observe:
	@command -v prometheus >/dev/null || { echo "observe: Prometheus is not installed (Debian: apt-get install prometheus prometheus-alertmanager)" >&2; exit 1; }
	@mkdir -p $(HOME_DIR)/prometheus
	@sed -e 's|127.0.0.1:9093|$(ALERTMANAGER_BIND)|' -e 's|\[rules.yml\]|["$(CURDIR)/monitoring/prometheus/rules.yml"]|' \
	  monitoring/prometheus/prometheus.yml > $(HOME_DIR)/prometheus.yml
	@trap 'kill $$(jobs -p) 2>/dev/null; wait; exit 0' INT TERM; \
	if command -v prometheus-alertmanager >/dev/null; then \
	  prometheus-alertmanager --config.file=monitoring/prometheus/alertmanager.yml --storage.path=$(HOME_DIR)/alertmanager --cluster.listen-address= \
	    --web.listen-address=$(ALERTMANAGER_BIND) --log.level=warn & \
	  echo "alerts that fire: http://$(ALERTMANAGER_BIND)"; \
	else echo "no Alertmanager is installed: alerts are shown by Prometheus only"; fi; \
	prometheus --config.file=$(HOME_DIR)/prometheus.yml --storage.tsdb.path=$(HOME_DIR)/prometheus \
	  --web.listen-address=$(PROMETHEUS_BIND) --log.level=warn & \
	echo "targets: http://$(PROMETHEUS_BIND)/targets, rules: http://$(PROMETHEUS_BIND)/alerts; Ctrl-C ends both"; \
	echo "Grafana: add http://$(PROMETHEUS_BIND) as a data source of type Prometheus (Connections), then import (Dashboards, New, Import)"; \
	echo "  $(CURDIR)/monitoring/grafana/service.json, loop.json and model.json"; \
	wait

demo: $(VENV)/.ready
	@trap 'exit 0' INT; $(BIN)/python examples/bikes/demo.py $(DEMO)

# Three workers on two cores: one of them waits for a program it started, most of the time.
# with bytecode kept, whatever the environment says: hundreds of processes start, and each would compile all it imports
test: $(VENV)/.ready-dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup -m "not slow" $(TESTS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile

# side by side: the linters take one core for a minute
check: $(VENV)/.ready-dev
	@$(MAKE) --no-print-directory -j 2 test lint

slow: $(VENV)/.ready-dev $(VENV)/boosters/.ready
	PYTHONPATH=$(CURDIR)/$(VENV)/boosters $(BIN)/python -m pytest -n $(SLOW_WORKERS) --dist loadgroup -m slow --timeout 1800 --durations 10 $(TESTS)
	$(BIN)/python -m pytest -n $(SLOW_WORKERS) -m "hypothesis and not slow" --hypothesis-profile new $(TESTS)

# Beside the environment, not in it: 300 MB that nothing but seven of the slow tests wants.
$(VENV)/boosters/.ready: requirements-boosters.txt $(VENV)/.ready-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade --target $(VENV)/boosters -r requirements-boosters.txt
	@touch $@

# what may go wrong, done to real processes and disks; some want root. Then the table of docs/promises.md with what was measured.
FAULTS := $(VENV)/faults.jsonl
faults: $(VENV)/.ready-dev
	@rm -f $(FAULTS)
	EVERGREEN_FAULT_REPORT=$(CURDIR)/$(FAULTS) $(BIN)/python -m pytest --timeout 1800 --durations 10 tests/end_to_end/test_faults*.py tests/end_to_end/test_no_prediction_lost.py tests/service/codecs/test_damaged_bodies.py
	$(BIN)/python -m tests.fault_table $(FAULTS)

# what alerts say, by Prometheus and Alertmanager over a whole Evergreen; one wants root. Then the table of docs/monitoring.md with what was
# measured: half an hour, most of it waiting; best on a machine that does nothing else. DRILLS are options of pytest, such as DRILLS="-k disk"
DRILL_REPORT := $(VENV)/drills.jsonl
drills: $(VENV)/.ready-dev
	@rm -f $(DRILL_REPORT)
	EVERGREEN_DRILL_REPORT=$(CURDIR)/$(DRILL_REPORT) $(BIN)/python -m pytest --timeout 1800 --durations 0 tests/end_to_end/test_drills*.py $(DRILLS)
	$(BIN)/python -m tests.drill_table $(DRILL_REPORT)

# MUTANTS are options, such as MUTANTS="--number 50 --seed 1"
mutants: $(VENV)/mutants/.ready
	PYTHONPATH=$(CURDIR)/$(VENV)/mutants $(BIN)/python tests/mutants.py $(MUTANTS)

# Beside the environment, not in it: it brings setproctitle, with which gunicorn writes over the environment of its processes.
$(VENV)/mutants/.ready: requirements-mutants.txt $(VENV)/.ready-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --upgrade --target $(VENV)/mutants -r requirements-mutants.txt
	@touch $@

# BENCH are options of `run`, such as BENCH="--rounds 1 --seconds 2 --peers flask-sync"
bench: $(VENV)/.ready
	-$(BIN)/python -m benchmarks.serving setup
	-$(BIN)/python -m benchmarks.serving run --out .evergreen-bench/run.json $(BENCH)
	$(BIN)/python -m benchmarks.serving fronts --out .evergreen-bench/fronts.json
	$(BIN)/python -m benchmarks.serving neighbours --out .evergreen-bench/neighbours.json --into docs/serving-benchmark.md
	$(BIN)/python -m benchmarks.serving report .evergreen-bench/run.json .evergreen-bench/fronts.json --into docs/serving-benchmark.md
	$(BIN)/python -m benchmarks.growth --out .evergreen-bench/growth.json
	$(BIN)/python -m benchmarks.labels
	$(BIN)/python -m benchmarks.drain
	$(BIN)/python -m benchmarks.retention

# One resolution for every platform; no index address may ever be written into these files.
lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv $(LOCK) requirements.in -o requirements.txt
	$(BIN)/uv $(LOCK) requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv $(LOCK) requirements-mutants.in -o requirements-mutants.txt
	$(BIN)/uv $(LOCK) --no-deps requirements-boosters.in -o requirements-boosters.txt

# what Grafana imports, from monitoring/grafana/panels.py; a test says when this was forgotten
dashboards: $(VENV)/.ready-dev
	$(BIN)/python -m monitoring.grafana.dashboards

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
