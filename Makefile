# make demo   set up, run the quickstart, print the result and where the report lies
# make test   set up, then lint, types, imports and the whole suite
# make study  set up, then the curves of all sets at hand, fast form (one seed, one draw);
#             DATA is the folder with the sets' folders, STUDY where results go
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export MPLBACKEND := Agg

DATA ?= ../shared/data
STUDY ?= runs/study
FAST := --seeds 1 --draws 1
WHEEL_SETS := electricity swissmetro
FOLDER_SETS := drone-delivery-privacy-choices ridehail-privacy-choices \
  vod-privacy-choices chatbot-privacy-vignettes argument-convincingness-prefs

.PHONY: demo test lint suite study setup clean

demo: setup
	@$(BIN)/fedpref simulate simulations/quickstart.toml

test: lint suite

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Two processes of one thread each: threads that wait for one another burn the cores.
suite: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

study: setup
	@for set in $(WHEEL_SETS); do \
	  $(BIN)/fedpref study curve $$set $(FAST) --out $(STUDY)/$$set || exit 1; done
	@for set in $(FOLDER_SETS); do \
	  if [ -d "$(DATA)/$$set" ]; then $(BIN)/fedpref study curve $$set \
	    --from "$(DATA)/$$set" $(FAST) --out $(STUDY)/$$set || exit 1; \
	  else echo "$$set: not in $(DATA), left out"; fi; done

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
