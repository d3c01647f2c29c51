# Every target sets itself up on a machine with Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9

# container images set it: every process that the tests start would compile the sources again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-fast stress fuzz round-trips lint format lock docs page-assets clean

demo: $(READY)  ## draw scenes, train a small network, segment a video
	$(BIN)/maskpencil demo

test: $(READY)  ## run the test suite with its coverage
	MASKPENCIL_COVERAGE=95 $(BIN)/pytest -n 2 --dist worksteal

test-fast: $(READY)  ## the quick tests of every room, in a minute: none marked slow (training, conversion, processes, fuzzing), no coverage
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not stress and not fuzz"

STRESS ?= 1

stress: $(READY)  ## fresh processes, kills, load and memory: 15 minutes; STRESS=0.3 tries less often, STRESS=10 more
	MASKPENCIL_STRESS=$(STRESS) $(BIN)/pytest -m stress tests/stress tests/training/test_kill.py tests/browser

MINUTES ?= 60
FIRST ?= 0

fuzz: $(READY)  ## damaged inputs of every kind for MINUTES, from the case FIRST on; what is found lies in runs/fuzz
	MASKPENCIL_FUZZ_MINUTES=$(MINUTES) MASKPENCIL_FUZZ_FIRST=$(FIRST) $(BIN)/pytest -m fuzz tests/fuzz

TOOLS := .venv-tools
TOOLS_READY := $(TOOLS)/.ready
EXAMPLES ?= 40

round-trips: $(TOOLS_READY)  ## data sets that the libraries of annotation tools write and read, in a .venv-tools of 1.7 GB
	QT_QPA_PLATFORM=offscreen MASKPENCIL_EXAMPLES=$(EXAMPLES) $(TOOLS)/bin/python -m pytest -rs tests/round_trips

$(TOOLS_READY): $(READY) tests/round_trips/requirements.lock
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(BIN)/uv pip sync --quiet --python $(TOOLS)/bin/python tests/round_trips/requirements.lock
	$(BIN)/uv pip install --quiet --python $(TOOLS)/bin/python --no-deps --editable .
	touch $@

lint: $(READY)  ## style, types and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)  ## make .venv with the locked packages

# a stamp, so that nothing is done while lock and project file stay as they are
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@if command -v npm >/dev/null; then $(BIN)/python -W ignore -m maskpencil.web.assets || true; fi
	touch $@

lock: $(READY)  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --extra train --group dev \
	    --no-emit-index-url --no-header --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --group tools \
	    --override tests/round_trips/overrides.txt --no-emit-index-url --no-header \
	    --output-file tests/round_trips/requirements.lock pyproject.toml

page-assets: $(READY)  ## fetch the npm packages of the page and bundle its scripts, with node and npm
	$(BIN)/python -W ignore -m maskpencil.web.assets

docs: $(READY)  ## write docs/architecture.md
	$(BIN)/python docs/architecture.py

clean:  ## remove everything that was made here, runs aside
	rm -rf $(VENV) $(TOOLS) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
