# Set-up happens by itself: each target installs what it needs into $(VENV), once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint compatibility cards bench fuzz clean

help:  ## List what can be made.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 15

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

demo: $(VENV)/.installed-demo  ## A frozen classifier names the country of cities it has never seen (FULL=1: three seeds).
	$(BIN)/python -m examples.geography $(if $(FULL),--full)

test: $(VENV)/.installed-dev  ## Run all tests.
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev  ## Style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compatibility: $(VENV)/.installed-dev  ## Write docs/compatibility.md from what the contract suite shows.
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/contract --compatibility

cards: $(VENV)/.installed-dev  ## Write the cards of the example plugins, in hub_cards/examples, from the JSON beside them.
	$(BIN)/python -m examples.cards

bench: $(VENV)/.installed-dev  ## Measure ours beside the published way (FULL=1: also at five million entities).
	$(BIN)/python -m benchmarks $(if $(FULL),--full)

fuzz: $(VENV)/.installed-dev  ## Open artifacts that a machine makes up, for as many seconds as FOR=60 says.
	$(BIN)/python -m tests.fuzz --seconds $(or $(FOR),60)

clean:  ## Remove what was built and installed.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
