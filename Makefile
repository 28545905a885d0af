# Everything that a newcomer types. Needs GNU make 3.81, a shell and Python 3.11 to 3.13; no root,
# no Java. PYTHON=python3.12 chooses the Python, VENV=folder the virtual environment.

VENV ?= .venv
PYTHON ?=
DAGSTER_PORT ?= 3000
MLFLOW_PORT ?= 5001

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# The one that was asked for, whichever made the environment; else the one that is there.
ENVIRONMENT := $(VENV)/$(if $(PYTHON),.made-by-$(subst /,-,$(PYTHON)),bin/python)
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo dev test bench lint data clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) data ## install, fetch the example data, run every target, show its variants
	@$(BIN)/ff run
	@printf '\nSee it in the browser: make dev\n'

dev: $(INSTALLED) ## Dagster's UI and MLflow's, on what `make demo` made (DAGSTER_PORT, MLFLOW_PORT)
	@$(BIN)/python -m ff_assets.dev --dagster-port $(DAGSTER_PORT) --mlflow-port $(MLFLOW_PORT)

test: $(INSTALLED_DEV) data ## all tests
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

bench: $(INSTALLED) data ## measure shared execution against the usual ways
	@$(BIN)/python -m ff_assets_tests.bench

lint: $(INSTALLED_DEV) ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

data: $(INSTALLED) ## the example data, once
	@$(BIN)/python -m ff_assets.flows.datasets

clean: ## remove the virtual environment and caches; results in .ff stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	@echo "Data, results and history stay in .ff; remove them with: rm -r .ff"

SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

$(ENVIRONMENT):
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if $$python -c "$(SUITABLE)" 2>/dev/null; then \
	    echo "Creating $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV) && $(if $(PYTHON),touch $@ &&) exit; \
	  fi; \
	done; \
	echo "error: $(or $(PYTHON),none of python3 python3.13 python3.12 python3.11 python) is no Python" \
	  "3.11 to 3.13 that can make virtual environments." >&2; \
	echo "Install one (on Debian and Ubuntu with its -venv package), or name yours:" \
	  "make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	exit 1

$(INSTALLED): $(ENVIRONMENT) pyproject.toml constraints.txt
	@echo "Installing about 150 packages (1.6 GB on disk): one to three minutes."
	@$(INSTALL) -e '.[households]'
	@touch $@

$(INSTALLED_DEV): $(ENVIRONMENT) pyproject.toml constraints.txt
	@echo "Installing about 170 packages (1.7 GB on disk): one to three minutes."
	@$(INSTALL) -e '.[dev,households]'
	@touch $(INSTALLED) $@
