# Everything a person or CI runs. Each target sets up what it needs inside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export HF_HUB_OFFLINE := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: setup demo test slow check format golden benchmarks clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]" --group dev
	touch $(STAMP)

# A missed target is a result, which the table says; exit code 5 is for scripts that call `aether build` themselves.
demo: $(STAMP)
	$(BIN)/aether build recipes/code/python-autocomplete || test $$? -eq 5

# Two processes of one thread each, a file's tests in one process, which shares what is built once.
TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(STAMP)
	$(TESTS)

slow: $(STAMP)
	$(TESTS) -m slow

check: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
