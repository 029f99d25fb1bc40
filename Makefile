# Two commands do everything on a machine with Python >= 3.10 and git: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-fast lint clean

demo: .venv/ready
	$(BIN)/seqebm demo

# a process for each core, four at most; tests of a file share what they make and compile, and files
# come in their order, for those with few tests are not the short ones
PYTEST = $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 \
	--dist=loadfile --no-loadscope-reorder

test: .venv/dev
	$(PYTEST)

test-fast: .venv/dev
	$(PYTEST) -m "not slow"

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch first: its exact version is what keeps pip from looking for another build
.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -c "import sys; assert sys.version_info >= (3, 10), 'seqebm needs Python 3.10 or newer'"
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet torch
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet -e .
	touch $@

# what only developers need
.venv/dev: .venv/ready
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf .venv build *.egg-info
