# Everything here needs only Python 3.11 or newer, make and git. `make` alone lists the targets.

PYTHON ?= python3
VENV   := .venv
MADE   := $(VENV)/.made
PY     := $(VENV)/bin/python
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help run test lab site notebooks course bench

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Options: PYTHON=python3.12 (for the first set-up), ARGS="--preset smoke -p seed=1" (run, course)'

run: $(MADE)  ## search, train and compare detectors: notebook 14_wzdnas
	$(PY) -m nasedu run 14_wzdnas $(ARGS)

test: $(MADE)  ## lint, package tests, and every notebook at the smoke preset
	$(PY) tests/run.py

lab: $(MADE)  ## open JupyterLab on a copy of the course, in work/
	$(PY) -m nasedu lab -- $(ARGS)

site: $(MADE)  ## write the course as a static site, in site/
	$(PY) -m nasedu site $(ARGS)

notebooks: $(MADE)  ## rebuild the notebooks from notebooks/source, with outputs
	$(PY) -m nasedu build $(ARGS)

course: $(MADE)  ## run every notebook and keep its results in runs/
	$(PY) -m nasedu run all $(ARGS)

bench: $(MADE)  ## run the benchmarks
	$(PY) -m pytest tests/benchmarks -o python_files='bench_*.py' -s $(ARGS)

# The stamp comes last, so a set-up that was interrupted starts afresh. constraints.txt pins torch and
# torchvision to a pair: whichever other torch pip can see, it installs that one.
$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'nasedu needs Python 3.11 or newer: name one, as in  make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'this Python cannot make virtual environments: install its venv package (Debian: python3-venv)' >&2; exit 1; }
	@echo 'setting up $(VENV): once, a few minutes and 6 GB'
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[course,deploy,openvino,ncnn,cluster,training,test]'
	@touch $@
