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
# The slowest first. Where weights have 128 directions the fast form leaves out models
# with a matrix of 128 x 128 for everybody.
SETS := chatbot-privacy-vignettes swissmetro drone-delivery-privacy-choices \
  argument-convincingness-prefs vod-privacy-choices electricity \
  ridehail-privacy-choices
WIDE := --models majority,population,own,eb_public
MODELS_swissmetro := $(WIDE),attributes
MODELS_argument-convincingness-prefs := $(WIDE)
FROM_electricity := wheel
FROM_swissmetro := wheel

.PHONY: demo test lint suite processes study setup clean

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
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n 2 --dist loadscope -m "not processes"

# Takes minutes: a round among Flower's own processes.
processes: setup
	$(BIN)/python -m pytest -m processes

# Two sets at a time with one thread each; the embeddings of a catalogue are kept.
study: setup
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	  $(MAKE) --no-print-directory -j 2 $(addprefix study-,$(SETS))

study-%:
	@set --; if [ "$(FROM_$*)" = wheel ]; then :; \
	elif [ -d "$(DATA)/$*" ]; then set -- --from "$(DATA)/$*"; \
	else echo "$*: not in $(DATA), left out"; exit 0; fi; \
	mkdir -p "$(STUDY)" && $(BIN)/fedpref study curve $* "$$@" $(MODELS_$*) $(FAST) \
	  --out "$(STUDY)/$*" > "$(STUDY)/$*.txt" && cat "$(STUDY)/$*.txt"

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
