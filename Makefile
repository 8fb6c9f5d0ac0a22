# Two commands matter: `make demo` and `make test`. Each installs what it needs into .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH  := $(VENV)/bench

.PHONY: demo test test-long lint types tests bench bench-quick bench-long bench-server bench-doors bench-growth clean

demo: $(READY)
	$(BIN)/muse demo

test: $(READY) lint types tests

# The same faults, many times over, and the compiled part under sanitizers: half an hour in each form. Before that
# of the form without it, the tests of all that it has a share in.
test-long: $(READY)
	$(BIN)/pytest -m long
	MUSE_PURE=1 $(BIN)/pytest -n 4 $(BOTH_FORMS)
	MUSE_PURE=1 $(BIN)/pytest -m long $(BOTH_FORMS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# All with the compiled part; the room that calls it, again without. Where there is no compiler, all is without.
AGAIN := tests/core
BOTH_FORMS := $(AGAIN) tests/disk tests/session tests/replication tests/testing tests/upkeep

tests: $(READY)
	$(BIN)/pytest -n 4
	@case "$$($(BIN)/muse --version)" in \
	  *"(compiled)") echo "again, without the compiled part"; MUSE_PURE=1 $(BIN)/pytest -n 4 $(AGAIN);; \
	  *) echo "there is no compiled part here: the tests ran without it";; \
	esac

# The peers have an environment of their own, so that none of them has a say in the tests.
bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.run

bench-quick: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.run --quick

bench-long: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.run --long

# Eleven minutes: a hundred agents and twenty followers on one server, a flood, and HTTP.
bench-server: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.server.run --out benchmarks/results/server.json

# The commands that people type, beside git (and jj where it is installed), and a save under `muse watch`.
bench-doors: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.doors.run --out benchmarks/results

# How whole commands grow with ops, sessions, commits, files and notes: an hour, most of it at a million ops.
bench-growth: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.growth.run --out benchmarks/results

$(BENCH)/.ready: pyproject.toml benchmarks/install.py hatch_build.py $(wildcard native/*)
	@$(PYTHON) -m venv $(BENCH) 2>/dev/null || uv venv --quiet --seed --allow-existing --python $(PYTHON) $(BENCH)
	@$(BENCH)/bin/python -m benchmarks.install
	@touch $@

$(READY): pyproject.toml hatch_build.py $(wildcard native/*)
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) || { echo "no venv module: on Debian, 'apt-get install python3-venv'"; exit 1; }; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis muse_oplog.egg-info muse/_native.abi3.so
