# Every target creates the virtual environment .venv by itself, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
PARALLEL := -n auto --dist loadfile
# The tests start hundreds of Python processes. Without cached bytecode each of them compiles the package again.
unexport PYTHONDONTWRITEBYTECODE
SLOW := compiler or sandbox or service or release or docker or browser or postgres

.PHONY: help test quick demo check format bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements.txt pyproject.toml autograder/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.10 to 3.13 is needed, $(PYTHON) is another: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		{ echo "A C++ compiler is needed for src/softmax_ext: apt-get install g++, or xcode-select --install" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[dev]'
	@touch $@

test: $(READY) ## run every test, in parallel
	$(BIN)/python -m pytest $(PARALLEL)

quick: $(READY) ## run the tests that need no sandbox, service, browser or container, and few builds: under a minute
	$(BIN)/python -m pytest $(PARALLEL) -m "not ($(SLOW))"

demo: $(READY) ## run visible tests and a training; then four students push and get a score.md
	$(BIN)/python -m pytest -q test_toy.py
	$(BIN)/python -m src.train softmax-cpp --epochs 3
	$(BIN)/python -m demo.university

check: $(READY) ## check format, lint, types and the directions of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let the formatter and the linter rewrite the files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## measure epochs, grading, the service and the gradebook; JSON goes to benchmarks/results/
	$(BIN)/python -m benchmarks.epochs
	$(BIN)/python -m benchmarks.roofline
	$(BIN)/python -m benchmarks.grading
	$(BIN)/python -m benchmarks.service
	$(BIN)/python -m benchmarks.gradebook

clean: ## remove everything that can be built again
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	rm -rf src/softmax_ext/_build benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
