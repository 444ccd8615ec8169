# EdgeX Vision. Every target sets up what it needs; `make` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
LOCK   := $(BIN)/uv pip compile -q --no-header --no-annotate --generate-hashes --universal --python-version 3.11 -c constraints.txt -

SAMPLE     ?= street
CAMERAS    ?= 1
SOURCE     ?=
MODEL      ?=
MODEL_TYPE ?=
FPS        ?= 5
SHIFT      ?= 0
SECONDS    ?= 0
PYTEST     ?=
SCENARIO   ?=

# Ctrl-C while Python itself starts would show a traceback of the interpreter; the demo unblocks the signal.
BLOCK_INT = $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit test-long test-edgex conformance check bench bench-quick lock docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## a virtual environment with the distributions

run: $(VENV)/.installed ## camera, inference and page on this machine (SOURCE= MODEL= MODEL_TYPE= CAMERAS= FPS= SHIFT= SECONDS= SAMPLE=driver)
	@$(BLOCK_INT) $(BIN)/python -m demo --sample "$(SAMPLE)" --source "$(SOURCE)" --model "$(MODEL)" --model-type "$(MODEL_TYPE)" \
		--cameras $(CAMERAS) --fps $(FPS) --port-shift $(SHIFT) --seconds $(SECONDS)

test: $(VENV)/.developed ## everything but what takes minutes (PYTEST="-k camera" for a part, "-n 0" in one process)
	@$(BIN)/python -m pytest -m "not long" -n logical --dist loadfile --no-loadscope-reorder $(PYTEST)

test-unit: $(VENV)/.developed ## what starts no process and opens no port
	@$(BIN)/python -m pytest -m "not integration and not system and not long" -n logical $(PYTEST)

test-long: $(VENV)/.developed ## the rest: cold starts, the typed tutorial, the fault matrix, fuzzing, every benchmark once
	@$(BIN)/python -m pytest -m long -n 0 $(PYTEST)

test-edgex: $(VENV)/.developed ## conformance tests against EdgeX itself (CONTRIBUTING.md has its variables)
	@for name in EDGEX_CORE_KEEPER EDGEX_CORE_METADATA EDGEX_CORE_DATA EDGEX_CORE_COMMAND EDGEX_BROKER; do \
		printenv $$name >/dev/null || { echo "set $$name, e.g. http://localhost:59890 or localhost:1883" >&2; exit 1; }; done
	@$(BIN)/python -m pytest -p tests.conformance.checklist_page --conformance docs/reference tests/conformance $(PYTEST)

conformance: $(VENV)/.developed ## docs/reference/conformance.md anew, from tests against the stand-in
	@$(BIN)/python -m pytest -p tests.conformance.checklist_page --conformance docs/reference \
		tests/conformance tests/standin/keeper tests/standin/metadata tests/standin/data tests/standin/command tests/standin/test_go_services.py $(PYTEST)

check: $(VENV)/.developed ## format, lint, types, import contracts, spelling
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell

bench: $(VENV)/.developed ## figures beside references of the same run (SCENARIO="receive publish" for some)
	@$(BIN)/python -m benchmarks $(SCENARIO)

bench-quick: $(VENV)/.developed ## the same in minutes, for a look
	@$(BIN)/python -m benchmarks --quick $(SCENARIO)

lock: $(VENV)/.developed ## requirements.txt of the images anew, from constraints.txt: every package with the hashes of its files
	@$(PIP) install --quiet uv
	@for service in device-service app-service; do \
		sed -n '/^dependencies/,/^]/s/^ *"\([^@"]*\)",.*/\1/p' edgex-kit/pyproject.toml $$service/pyproject.toml | $(LOCK) -o $$service/requirements.txt; done
	@echo hatchling | $(LOCK) -o requirements-build.txt

docs: conformance ## the generated pages anew, and every link followed
	@$(BIN)/python -m pytest -q tests/test_repository.py

clean: ## remove the environment and what runs have left; pulled samples stay in the user's cache
	rm -rf $(VENV) run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 14)))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

# The services first: they name the kit by its folder; then all as they stand here, so that an edit is in force.
$(VENV)/.installed: $(VENV)/bin/python constraints.txt edgex-kit/pyproject.toml edgex-standin/pyproject.toml device-service/pyproject.toml app-service/pyproject.toml
	@echo "installing into $(VENV) (a minute or two the first time)"
	@$(PIP) install -c constraints.txt ./edgex-kit ./edgex-standin ./device-service ./app-service
	@$(PIP) install --quiet --no-deps -e ./edgex-kit -e ./edgex-standin -e ./device-service -e ./app-service
	@touch $@

$(VENV)/.developed: $(VENV)/.installed pyproject.toml
	@$(PIP) install --quiet --upgrade "pip>=25.1"
	@$(PIP) install --quiet -c constraints.txt --group dev
	@touch $@
