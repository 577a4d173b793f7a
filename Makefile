# Every target sets up what it needs first; `make` alone lists them.
PY := .venv/bin/python
ARGS ?=
PYTEST := $(PY) -m pytest

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup setup-dev
setup:
	@tools/setup.sh run
setup-dev:
	@tools/setup.sh dev

.PHONY: run
run: setup ## start a node: with windows where there is a display, else in the terminal (ARGS="--headless -p 9000")
	@$(PY) -m app run $(ARGS)

.PHONY: test
test: setup-dev check ## every check and every test
	$(PYTEST) $(ARGS)

.PHONY: test-quick
test-quick: setup-dev ## the quick tests, under two minutes
	$(PYTEST) -m "not slow and not window" $(ARGS)

.PHONY: check
check: setup-dev ## formatting, lint, types, import rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports

.PHONY: format
format: setup-dev ## format the code and mend what ruff can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

.PHONY: bench
bench: setup ## measure speed as ratios against llama.cpp in the same run
	$(PY) -m bench.engine $(ARGS)

.PHONY: package
package: setup ## build dist/swarmllm, one folder that runs without Python
	@$(PY) -m pip install -q --no-input --disable-pip-version-check -r requirements/build.txt
	$(PY) -m PyInstaller --noconfirm pyinstaller.spec

.PHONY: lock
lock: setup-dev ## write requirements/*.txt anew from requirements/*.in
	$(PY) tools/lock.py
