# `make run` opens the app, `make test` proves it. Both set up all they need in .venv on their first call.
# A stamp file is touched only after its installation succeeded, so an interrupted one is simply done again.

SHELL := bash
VENV := .venv
PYTHON := $(VENV)/bin/python
NODE := $(VENV)/bin/node
PIP_INSTALL := $(PYTHON) -m pip install --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint style docs bench fuzz load pretrained scenes container packages portable walk screenshots clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## open the app in the browser, on 127.0.0.1 (another port: make run PORT=8600)
	$(PYTHON) -m streamlit run app.py $(if $(PORT),--server.port=$(PORT))

# Bytecode is written even where the environment forbids it: some fifty processes would compile the same modules anew.
test: $(VENV)/.installed-dev style ## check style and types, then run all tests, the browser tests included
	$(NODE) --test --test-reporter=dot $(wildcard tests/viewer/*.mjs)
	$(PYTHON) -m driving.chromium
	-$(PYTHON) -m driving.proxies
	@nice $(PYTHON) -m mypy >.mypy.log 2>&1 & types=$$!; \
	PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -n 4 --no-loadscope-reorder; failed=$$?; \
	wait $$types || failed=1; cat .mypy.log; rm -f .mypy.log; exit $$failed

lint: style ## check style, format and types only
	$(PYTHON) -m mypy

style: $(VENV)/.installed-dev node_modules/.installed
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(NODE) node_modules/.bin/biome ci --colors=off --error-on-warnings
	$(NODE) node_modules/.bin/tsc

docs: $(VENV)/.installed-dev ## build the documentation as a site into site/, with warnings as errors
	$(PYTHON) -m sphinx -b html -E -W --keep-going -q docs site
	@echo "Open site/index.html in a browser."

bench: $(VENV)/.installed-bench ## measure speed side by side, an hour and more, and write docs/bench.md
	$(PYTHON) -m driving.chromium --whole
	$(PYTHON) -m benchmarks --write

load: $(VENV)/.installed-dev ## many users at once: waits, errors, memory, written to docs/load.md (shorter, unwritten: make load SESSIONS=8 SECONDS=60)
	$(PYTHON) -m driving.chromium --whole
	$(PYTHON) -m benchmarks load $(if $(SESSIONS),--sessions $(SESSIONS)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SESSIONS)$(SECONDS),,--write)

fuzz: $(VENV)/.installed-dev ## damage files, links and JSON at random for some minutes: make fuzz TIMES=50 SEED=7
	@seed=$${SEED:-$$RANDOM$$RANDOM}; echo "make fuzz TIMES=$(or $(TIMES),20) SEED=$$seed repeats this"; \
	FUZZ_TIMES=$(or $(TIMES),20) OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests/fuzz --hypothesis-seed=$$seed -W "ignore:Generating overly large repr"

pretrained: $(VENV)/.installed ## train the networks in pretrained/ again, which takes hours: make pretrained DATA=cifar10-folder
	$(PYTHON) -m explorer pretrained all $(if $(DATA),--data "$(DATA)")

scenes: $(VENV)/.installed ## render the scenes of the gallery again, which takes some minutes
	$(PYTHON) -m scripts.render_scenes

container: $(VENV)/.installed-dev ## build the container and use the app in it, which needs Docker or Podman
	$(PYTHON) -m scripts.container

walk: $(VENV)/.installed-dev ## open every page in its states, list what is wrong and take pictures: make walk STATES="compare class"
	$(PYTHON) -m driving.chromium
	$(PYTHON) -m scripts.walk $(STATES)

packages: $(VENV)/.installed-dev ## install into empty environments, and open the app there, which downloads 3 GB
	$(PYTHON) -m scripts.clean_install

PORTABLE_TESTS := runs runs_files run_dials weight_snapshots studies study_page surface_runs downloadable \
	weights_import_files machine_room

portable: $(VENV)/.installed-dev ## run the tests of runs, studies, surfaces, downloads and weights as on Windows
	EXPLORER_PORTABLE=1 $(PYTHON) -m pytest -n 4 --no-loadscope-reorder $(PORTABLE_TESTS:%=tests/test_%.py)

screenshots: $(VENV)/.installed-dev ## take the pictures of the app in docs/ again, light and dark
	$(PYTHON) -m driving.chromium
	$(PYTHON) -m scripts.screenshots

clean: ## remove .venv and everything else that these targets made, but not your runs
	rm -rf $(VENV) node_modules site .mypy_cache .pytest_cache .ruff_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: requirements.txt $(PYTHON)
	@scripts/make_venv.sh $(VENV)
	@echo "Installing the packages of requirements.txt; the first time this downloads about 3 GB and takes some minutes."
	$(PIP_INSTALL) -r requirements.txt
	@touch $@

# No recipe: where Python is missing, or its link leads nowhere after an upgrade, the rule above makes all again.
$(PYTHON):

$(VENV)/.installed-dev: requirements-dev.txt requirements-ray.txt $(VENV)/.installed
	$(PIP_INSTALL) --quiet -r requirements-dev.txt
	@touch $@

# The type checker, formatter and linter of the browser's modules. Node and npm come with the Python packages.
node_modules/.installed: package.json package-lock.json $(VENV)/.installed-dev
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" npm ci --no-audit --no-fund --silent
	@touch $@

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed-dev
	$(PIP_INSTALL) --quiet -r requirements-bench.txt
	@touch $@
