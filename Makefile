# The environment is made when it is missing or out of date; everything else runs in it.
PYTHON := python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

SOURCE := u2net_nano
TO := all
OUT := out

.PHONY: convert test test-all check format bench constraints clean

convert: $(READY)
	$(BIN)/u2zoo convert "$(SOURCE)" --to "$(TO)" --out "$(OUT)"

test: $(READY)
	$(BIN)/python -m pytest

# What takes long too: full-size networks in every format, all photographs, environments of other tools.
test-all: $(READY)
	$(BIN)/python -m pytest -m ""

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/mutants.py --list >/dev/null

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python scripts/bench_convert.py

# The newest releases that fit together, on Linux, macOS and Windows and every Python of pyproject.toml.
constraints: $(READY)
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --upgrade --no-annotate --quiet \
		--custom-compile-command "make constraints" --output-file constraints.txt

# The constraints keep every machine on the versions that were measured together.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[all,dev]"
	touch $(READY)

clean:
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
