# make demo   set up, run the quickstart, print the result and where the report lies
# make test   set up, then lint, types, imports and the whole suite
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export MPLBACKEND := Agg

.PHONY: demo test lint suite setup clean

demo: setup
	@$(BIN)/fedpref simulate simulations/quickstart.toml

test: lint suite

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

suite: setup
	$(BIN)/python -m pytest

# Both steps do nothing, and need no network, where they have been done before.
setup: .venv/.installed
	@$(BIN)/fedpref data get all

# torch goes first and at exactly its version: anything newer pulls gigabytes.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
