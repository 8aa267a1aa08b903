# `make run` opens the app, `make test` proves it. Both set up all they need in .venv on their first call.
# A stamp file is touched only after its installation succeeded, so an interrupted one is simply done again.

SHELL := bash
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint bench pretrained clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## open the app in the browser, on 127.0.0.1 (another port: make run PORT=8600)
	$(PYTHON) -m streamlit run app.py $(if $(PORT),--server.port=$(PORT))

test: $(VENV)/.installed-dev lint ## check style and types, then run all tests, the browser tests included
	$(PYTHON) tests/e2e/chromium.py
	$(PYTHON) -m pytest -n 3 --dist loadfile

lint: $(VENV)/.installed-dev ## check style, format and types only
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

bench: $(VENV)/.installed-dev ## measure speed side by side and print the table that README shows
	$(PYTHON) -m benchmarks

pretrained: $(VENV)/.installed ## train the networks in pretrained/ again, which takes hours: make pretrained DATA=cifar10-folder
	$(PYTHON) -m explorer pretrained all $(if $(DATA),--data "$(DATA)")

clean: ## remove .venv and everything else that these targets made, but not your runs
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: requirements.txt $(PYTHON)
	@scripts/make_venv.sh $(VENV)
	@echo "Installing the packages of requirements.txt; the first time this downloads about 3 GB and takes some minutes."
	$(PIP_INSTALL) -r requirements.txt
	@touch $@

# No recipe: where Python is missing, or its link leads nowhere after an upgrade, the rule above makes all again.
$(PYTHON):

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP_INSTALL) --quiet -r requirements-dev.txt
	@touch $@
