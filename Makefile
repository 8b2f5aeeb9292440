# Two commands for people: `make demo` and `make test`. Each sets up what it needs.
VENV := .venv
BIN := $(VENV)/bin
# A shim may be on the PATH and refuse to start, so each candidate is run, not looked up.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
READY := $(VENV)/.ready

.PHONY: demo test lint setup system pictures clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   the whole path on the bundled sample, then napari (or screenshots without a display)"
	@echo "make test   every check and every test"
	@echo "make lint   style, types and the import rule"

system:
	@bash .ci/system-libraries

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, and neither was found."; \
		echo "Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[pyqt5,clip,test]'
	@touch $@

setup: system $(READY)

demo: setup
	QT_API=pyqt5 $(BIN)/wsss demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	QT_API=pyqt5 NAPARI_ASYNC=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=15

pictures: setup
	QT_API=pyqt5 $(BIN)/python resources/make_pictures.py

clean:
	rm -rf $(VENV) build dist *.egg-info wsss_demo
