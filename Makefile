# `make` sets up, builds the book and runs the demo; `make help` lists every target.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
QUICK := env -u MPLBACKEND DATADAM_PROFILE=quick TQDM_DISABLE=1
NBVAL := --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with tests/sanitize.cfg
COVERAGE := --cov=datadam_lite --cov-report=term:skip-covered --cov-fail-under=95

.PHONY: all setup book demo notebooks bench test test-all clean help
.NOTPARALLEL:

all: setup book demo  ## all a newcomer needs: setup, book, demo
	@echo "The book's first page: $(CURDIR)/_build/html/index.html"

setup: $(INSTALLED)  ## install the package and all it needs into .venv

# The stamp is written last: without it, what an interrupted call left behind is thrown away.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "datadam_lite needs Python 3.11 or newer, and '$(PYTHON)' isn't; name one: make PYTHON=python3.12"; exit 1; }
	@echo "== setup: installing into .venv; the first time this downloads several gigabytes"
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# From scratch: otherwise Sphinx warns only about pages that changed, and keeps pages that are no more.
book: setup  ## build the book, warnings as errors, into _build/html
	@echo "== book: building the pages"
	rm -rf _build
	$(BIN)/jupyter-book build . -W -n --keep-going -q

demo: setup  ## distil scikit-learn's digits, compare with real images
	@echo "== demo: distilling scikit-learn's digits"
	$(BIN)/datadam demo --overwrite

notebooks: setup  ## regenerate notebooks/ from book/chapters/ and book/assignments/
	$(BIN)/python book/regenerate.py
	$(BIN)/python book/assignments.py

bench: setup  ## time steps and evaluations beside plain PyTorch; wants an idle machine
	$(BIN)/python benchmarks/bench.py --out bench.json

test: setup  ## all that continuous integration runs
	@echo "== lint"
	$(BIN)/ruff check .
	@echo "== notebooks: every cell runs, and marked outputs are what the notebook shows"
	$(QUICK) $(BIN)/pytest --nbval-lax $(NBVAL) -n 2 --dist loadfile --ignore notebooks/assignments notebooks
	@echo "== notebooks that compute nothing which differs between machines: every output is what they show"
	$(QUICK) $(BIN)/pytest --nbval $(NBVAL) $$(cat tests/nbval_strict.txt)
	@echo "== unit tests and doctests; the book, warnings as errors"
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --jaxtyping-packages=datadam_lite,beartype.beartype --doctest-modules -m "not slow" $(COVERAGE) tests datadam_lite

test-all: test  ## the same and the tests that take minutes
	$(BIN)/pytest -m slow tests

clean:  ## remove what the other targets made
	rm -rf .venv _build demo bench.json datadam_lite.egg-info .pytest_cache .ruff_cache .hypothesis .coverage

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1: /p' Makefile
