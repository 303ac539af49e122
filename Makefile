# Two commands do everything on a machine with Python 3.11 or later, pip and make:
#
#   make demo   makes .venv, installs pinned dependencies, and trains the default configuration
#   make test   the same environment, and all tests
#
# PYTHON=python3.12 chooses another interpreter, VENV=DIR another place for the environment.

PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/two_grpo

PY := $(VENV)/bin/python
VERSION := $(shell $(PYTHON) -c 'import sys; print("python3.11" if sys.version_info < (3, 12) else "python3.12")')
PINNED := requirements/$(VERSION).txt
PYTEST := $(PY) -m pytest --numprocesses=2 --dist=worksteal
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: help install install-all demo test test-quick lint requirements clean

help:
	@sed -n '1,6s|^# *||p' Makefile
	@echo 'Others: install, install-all (with the tools of tests), test-quick, lint, requirements, clean.'

install: $(VENV)/.installed
install-all: $(VENV)/.installed-all

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is older than Python 3.11; name a newer one, as in make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py $(PINNED) | $(PY)
	$(PIP_INSTALL) --constraint $(PINNED) --editable .
	@touch $@

$(VENV)/.installed-all: setup.py $(PINNED) | $(PY)
	$(PIP_INSTALL) --constraint $(PINNED) --editable '.[test,notebook]'
	@touch $@ $(VENV)/.installed

demo: install
	$(PY) launch/main.py --config=configs/two_grpo.py --workdir=$(WORKDIR)

test: install-all
	$(PYTEST)

# Without the tests that are marked as slow.
test-quick: install-all
	$(PYTEST) -m 'not slow'

lint: install-all
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The newest versions that setup.py admits, tried in an environment of their own and written down.
requirements:
	rm -rf $(VENV)-requirements
	$(PYTHON) -m venv $(VENV)-requirements
	$(VENV)-requirements/bin/python -m pip install --quiet --disable-pip-version-check '.[test,notebook]'
	{ sed -n '/^#/p' $(PINNED); $(VENV)-requirements/bin/python -m pip freeze | grep == | grep -v ^grpo; } > $(PINNED).new
	mv $(PINNED).new $(PINNED)
	rm -rf $(VENV)-requirements

clean:
	rm -rf $(VENV) $(VENV)-requirements build *.egg-info .pytest_cache .mypy_cache .ruff_cache
