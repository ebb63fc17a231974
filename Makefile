# make demo: from a fresh clone to a picture.   make test: the whole test suite.   make help: the rest.
VENV ?= .venv
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    command -v $$p; break; fi; done)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: demo test slow durations lint docs notebooks notebooks-check benchmarks clean help

help:
	@echo "demo        train on the bundled digits and show where the picture is"
	@echo "test        the test suite            slow        its slow part"
	@echo "durations   measure which tests are slow"
	@echo "lint        ruff and mypy             notebooks   run all notebooks again"
	@echo "docs        build the site in docs/_build/html"
	@echo "benchmarks  measure (wants a quiet machine)       clean   remove $(VENV) and runs"

$(READY): requirements.txt setup.cfg
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: $(READY)
	$(BIN)/python -m experiments.diffusion
	$(BIN)/python -m experiments.evaluate runs/diffusion-digits --likelihood 64
	@echo "the picture: $$(ls $(CURDIR)/runs/diffusion-digits/samples/step_*.png | tail -1)"

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

slow: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow --timeout 3600

durations: $(READY)
	GEN_JAX_DURATIONS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.docs: $(READY) docs/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -r docs/requirements.txt
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/results/render.py --check
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "the site: $(CURDIR)/docs/_build/html/index.html"

notebooks: $(READY)
	$(BIN)/python notebooks/run.py

notebooks-check: $(READY)
	$(BIN)/python notebooks/run.py --check

benchmarks: $(READY)
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.training_step

clean:
	rm -rf $(VENV) runs build docs/_build docs/generated *.egg-info .pytest_cache .ruff_cache .mypy_cache
