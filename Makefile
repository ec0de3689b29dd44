# Two commands do everything on a fresh machine:
#   make demo   train a small model in three stages and leave demo/index.html to look at (minutes)
#   make test   run the tests
# and `make fuzz` throws damaged files at every reader, for MINUTES in all.
# Both create .venv with pinned versions and build the C++ kernels, and are quick when nothing changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Building the kernels needs the torch in .venv, hence no build isolation.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test fuzz lint format benchmark clean

demo: $(VENV)/.built
	$(BIN)/vkit demo --out demo

test: $(VENV)/.built
	$(BIN)/python -m pytest

MINUTES ?= 2
fuzz: $(VENV)/.built
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

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
