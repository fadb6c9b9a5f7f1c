# The one runner. Two commands on a fresh machine with Python 3.11 or newer: `make demo`, `make test`.
PYTHON ?=
SEEDS ?= 1000
KILLS ?= 1000
CYCLES ?= 50
FLIPS ?= 200
SECONDS ?= 60
MINUTES ?= 30
RUNS ?= 5
READY := .venv/.ready
BIN := .venv/bin
# Hundreds of processes are started here: each would compile all it imports, 0.4 s of the 0.7 s.
unexport PYTHONDONTWRITEBYTECODE
PAGES := asyncapi command_reference cookbook_page duckdb_reference limits_page topic_reference
CODE := pypistream producers processors sinks streams upstream schemas

.DEFAULT_GOAL := help
.PHONY: help demo test seeds kafka compose lint format types faults kills kill-loops full-disk bit-flips malice fuzz soak coverage whole-truth hostile-sql chaos-kafka simulate nth-call bench bench-reconcile bench-bootstrap bench-dump bench-http bench-full bench-sse resume docs schemas lowest lock venv clean

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: $(READY)  ## the whole program on a stand-in for PyPI; nothing leaves the machine
	@$(BIN)/pypistream demo

test: $(READY)  ## the test suite; ARGS="-k trim" picks, PYPISTREAM_SEED=n replays
	@sh scripts/test.sh $(ARGS)

seeds: $(READY)  ## the suite RUNS=5 times, each under a seed of its own, until one fails; ARGS as for test
	@for run in $$(seq $(RUNS)); do sh scripts/test.sh $(ARGS) || exit 1; done

kafka: $(READY)  ## the whole program on Kafka: roles, kills, rights (5 minutes, needs Docker or PYPISTREAM_TEST_KAFKA)
	@sh scripts/test.sh kafka $(ARGS)

compose: $(READY)  ## compose.yaml, built and brought up, a broker killed (4 minutes, needs Docker)
	@$(BIN)/python -m pytest tests/e2e/test_compose.py $(ARGS)

lint: $(READY)  ## ruff, import rules, spelling
	@sh scripts/lint.sh

format: $(READY)  ## ruff format and its safe fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only .

types: $(READY)  ## mypy, strict
	@$(BIN)/mypy

faults: $(READY)  ## every fault of upstream alone, the real program against it (15 minutes)
	@PYPISTREAM_FAULTS=all PYPISTREAM_FAULTS_REPORT=docs/faults.md $(BIN)/python -m pytest tests/faults $(ARGS)

kills: $(READY)  ## kill -9 at fifty random moments of a backfill with live changes (3 minutes)
	@PYPISTREAM_TEST_KILLS=50 $(BIN)/python -m pytest tests/e2e/test_killed.py $(ARGS)

kill-loops: $(READY)  ## log, sinks, dump, produce and process, each killed KILLS=1000 times as it works (10 minutes)
	@$(BIN)/python -m tests.support.kill_loop all $(KILLS) $(ARGS)

full-disk: $(READY)  ## the same on a small disk that fills up CYCLES=50 times (5 minutes, needs root)
	@$(BIN)/python -m tests.support.full_disks all $(CYCLES) $(ARGS)

bit-flips: $(READY)  ## FLIPS=200 bits flipped in what sinks keep and publish, and as many in log.sqlite (4 minutes)
	@$(BIN)/python -m tests.support.bit_flips $(FLIPS) $(ARGS)
	@PYPISTREAM_TEST_FLIPS=$(FLIPS) $(BIN)/python -m pytest -q tests/integration/test_sqlite_log_faults.py -k bit_flips

malice: $(READY)  ## documents made to hurt, to every parser: what each takes of CPU and memory (1 minute)
	@$(BIN)/python -m tests.support.malice $(ARGS)

fuzz: $(READY)  ## bytes that nobody wrote, against every parser for SECONDS=60; PYPISTREAM_SEED=n replays (15 minutes)
	@$(BIN)/python -m tests.support.fuzz all $(SECONDS) $(ARGS)

soak: $(READY)  ## the whole program for MINUTES=30 with changes and lies; exit 1 if its memory grows
	@$(BIN)/python -m tests.support.soak $(MINUTES) $(ARGS)

coverage: $(READY)  ## which branches the quick tests reach, those of processes too; ARGS="tests/e2e" for more (25 minutes)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov --cov-branch --cov-report=term --timeout 900 -W default::pytest.PytestUnraisableExceptionWarning tests/unit tests/contract tests/property tests/integration $(ARGS)

whole-truth: $(READY)  ## PROJECTS=20000 under every fault at once, XML-RPC removed half-way; what verify says then (5 minutes)
	@PYPISTREAM_TEST_WHOLE=$${PROJECTS:-20000} $(BIN)/python -m pytest -s tests/e2e/test_whole_truth.py $(ARGS)

hostile-sql: $(READY)  ## every hostile statement to the SQL endpoint, killed by its real limits (2 minutes)
	@PYPISTREAM_TEST_SQL=all $(BIN)/python -m pytest tests/integration/test_sql_hostile.py $(ARGS)

chaos-kafka: $(READY)  ## 15 kills, 6 stops, 5 kills of the broker during 20 000 projects on Kafka (20 minutes, needs Docker)
	@PYPISTREAM_TEST_CHAOS=long $(BIN)/python -m pytest -s --show-capture=no -o faulthandler_timeout=3600 tests/e2e/test_kafka_chaos.py $(ARGS)

simulate: $(READY)  ## SEEDS=1000 schedules of faults in virtual time; PYPISTREAM_SEED=n replays (2 minutes)
	@$(BIN)/python -m tests.support.simulate $(SEEDS) $(ARGS)

nth-call: $(READY)  ## every call to file, socket or database fails, one run each; PYPISTREAM_SEED=n replays (an hour)
	@$(BIN)/python -m tests.support.every_call $(ARGS)

bench: $(READY)  ## the benchmarks, printed beside the last committed ones
	@$(BIN)/python -m benchmarks $(ARGS)

bench-reconcile: $(READY)  ## a reconcile of 886 000 names; PYPISTREAM_NAMES=FILE for real ones; exit 1 if a figure is missed (3 minutes)
	@$(BIN)/python -m benchmarks.reconcile $(ARGS)

bench-bootstrap: $(READY)  ## a bootstrap of 100 000 projects, PROJECTS=n for others; exit 1 if a figure is missed (3 minutes)
	@$(BIN)/python -m benchmarks.bootstrap $(ARGS)

bench-dump: $(READY)  ## a dump of 20 000 projects beside the peer's way, PROJECTS=n for others, WORLD=FOLDER keeps them; exit 1 if a figure is missed (2 minutes)
	@$(BIN)/python -m benchmarks.dump $(ARGS)

bench-http: $(READY)  ## the HTTP service at 886 000 projects beside nginx, PROJECTS=n for others, WORLD=FOLDER keeps them; exit 1 if a figure is missed (needs wrk, nginx; 30 minutes)
	@$(BIN)/python -m benchmarks.http $(ARGS)

bench-full: $(READY)  ## SQL at 886 000 projects, PROJECTS=n for others, WORLD=FOLDER keeps them, PYPISTREAM_NAMES=FILE has real names; exit 1 if a figure is missed (an hour)
	@$(BIN)/python -m benchmarks.full $(ARGS)

bench-sse: $(READY)  ## 2000 clients of the live stream, 20 events a second for 5 minutes; exit 1 if a figure is missed (7 minutes)
	@$(BIN)/python -m benchmarks.sse $(ARGS)

resume: $(READY)  ## a stream resumed over a million events while the server is killed; exit 1 for a gap or a repeat (2 minutes)
	@$(BIN)/python -m benchmarks.sse --clients 0 $(ARGS)

docs: $(READY)  ## do schemas and documents still say what the code does?
	@$(BIN)/python -m schemas.generate --check && $(BIN)/python -m pytest -q tests/unit/test_documents.py tests/unit/test_references.py tests/unit/test_cli_reference.py tests/unit/test_asyncapi.py tests/unit/test_monitoring.py

schemas: $(READY)  ## write schemas/*.schema.json and the pages of docs/ that are made from the program
	@set -e; $(BIN)/python -m schemas.generate; for page in $(PAGES); do $(BIN)/python -m scripts.$$page; done

lowest:  ## unit, contract and property tests on the lowest versions pyproject.toml allows (needs uv)
	@sh scripts/lowest.sh $(ARGS)

lock:  ## resolve requirements.lock anew (needs uv)
	@sh scripts/lock.sh $(ARGS)

venv: $(READY)  ## only the set-up

$(READY): requirements.lock pyproject.toml scripts/setup.sh
	@PYTHON='$(PYTHON)' sh scripts/setup.sh

clean:  ## everything that make made
	@rm -rf .venv .lowest build dist .hypothesis .*_cache .coverage* htmlcov && find $(CODE) tests scripts -name __pycache__ -prune -exec rm -rf {} +
