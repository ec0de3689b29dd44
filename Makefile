# Two commands do everything on a fresh machine:
#   make demo   run the main job on a few problems of its own; leaves demo/run/index.html to look at
#   make test   run the tests
# Both create .venv with pinned versions and build the C++ kernels, and are quick when nothing changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Building the kernels needs the torch in .venv, hence no build isolation.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint format benchmark clean

demo: $(VENV)/.built
	$(BIN)/vkit data sketch --count 8 --seed 0 --out demo
	$(BIN)/vkit attn-ratio --model tiny --data demo/problems.jsonl --text demo/answers.jsonl --out demo/run

test: $(VENV)/.built
	$(BIN)/python -m pytest

lint: $(VENV)/.built
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m tests.typecheck

format: $(VENV)/.built
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

benchmark: $(VENV)/.built
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build demo *.egg-info kernels/*.so

$(VENV)/.installed: requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' requirements-dev.txt)"
	$(INSTALL) --requirement requirements-dev.txt
	touch $@

$(VENV)/.built: $(VENV)/.installed pyproject.toml setup.py $(wildcard csrc/*)
	$(INSTALL) --no-build-isolation --no-deps --editable .
	touch $@
