# make test      everything that CI checks: style, types, layers, tests
# make test-libraries   of these, the tests of what adapts third-party libraries, with all of them installed
# make test-hebo   the tests of what adapts HEBO, on Python 3.10 or 3.11
# make run       the first example: tune, kill the driver half way, resume, evaluate
# make test-all  the tests on each Python from 3.10 to 3.13 that this machine has; make test-3.13  on one of them
# make docs      the pages, built strictly into build/site
# make lint | soak | bench | clean
#
# All of them make the environment they need. PYTHON=... chooses the interpreter.

.DELETE_ON_ERROR:
.SUFFIXES:

VERSIONS := 3.10 3.11 3.12 3.13
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
LIBRARIES := .venvs/libraries
NEVERGRAD := .venvs/nevergrad
HEBO := .venvs/hebo
QUIET_PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
PIP := $(QUIET_PIP) $(BIN)/python -m pip -qqq
# Compiles to bytecode what the tests import, when they do; of what the libraries bring that is a small part.
LAZILY := --no-compile
FIND := sh .ci/find-python

.PHONY: test test-libraries test-hebo environments lint types layers pytest run test-all soak bench docs clean $(VERSIONS:%=test-%)

# Installing is mostly waiting and does not use a second core, and neither do mypy and mkdocs: so they go side by side.
test:
	$(MAKE) --jobs=3 lint docs environments
	$(MAKE) pytest test-libraries

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/.dev
	@sh .ci/system-packages
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# In an environment of its own, so that every other test shows that perdure needs none of these libraries.
test-libraries: environments
	$(LIBRARIES)/bin/python -m pytest -n $(WORKERS) -m library $(ARGS)
	$(NEVERGRAD)/bin/python -m pytest -n $(WORKERS) -m nevergrad tests/searchers

environments: $(LIBRARIES)/.installed $(NEVERGRAD)/.installed

# Not a part of `make test`: one searcher, on old Pythons only, with a PyTorch of its own.
test-hebo: $(HEBO)/.installed
	$(HEBO)/bin/python -m pytest -n $(WORKERS) -m hebo tests/searchers $(ARGS)

run: $(VENV)/.examples
	$(BIN)/python examples/run_digits.py

# A million simulated experiments: about an hour of one core, so half of that with WORKERS=2. Goes on where it was interrupted: make soak FIRST=420000 COUNT=580000
FIRST ?= 0
COUNT ?= 1000000
soak: $(VENV)/.dev
	$(BIN)/python -m perdure.testing.simulation $(FIRST) $(COUNT) --workers $(WORKERS)
	$(BIN)/python -m pytest -n $(WORKERS) -m soak --timeout 0 $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.dev
	$(BIN)/python tests/compat/write_migration_guide.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test-all:
	@sh .ci/test-all $(VERSIONS)

$(VERSIONS:%=test-%): test-%:
	@sh .ci/test-all $*

clean:
	rm -rf $(VENV) .venvs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again when pyproject.toml changes. An environment whose Python no longer runs is replaced.
$(BIN)/python:
	@python="$${PYTHON:-$$($(FIND))}" && test -n "$$python" && rm -rf $(VENV) && "$$python" -m venv $(VENV)

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install $(LAZILY) --editable '.[dev,docs]'
	@touch $@ $(VENV)/.examples

$(VENV)/.examples: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[examples]'
	@touch $@

$(LIBRARIES)/.installed: EXTRAS = dev,libraries
$(NEVERGRAD)/.installed: EXTRAS = dev,nevergrad,bayesopt
$(HEBO)/.installed: EXTRAS = dev,hebo
$(HEBO)/.installed: ALSO = 'torch==2.13.0; python_version < "3.12"'
$(LIBRARIES)/.installed $(NEVERGRAD)/.installed $(HEBO)/.installed: pyproject.toml
	@python="$${PYTHON:-$$($(FIND))}" && test -n "$$python" && rm -rf $(@D) && "$$python" -m venv $(@D)
	$(QUIET_PIP) $(@D)/bin/python -m pip -qqq install $(LAZILY) --editable '.[$(EXTRAS)]' $(ALSO)
	@touch $@
