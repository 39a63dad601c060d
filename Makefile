# Every target sets up what it needs; a second run does not set up again.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo test check bench docs wheel clean

demo: $(READY)  ## draw scenes, train a teacher and four students, write one page
	$(PY) -m segstill demo

test: check  ## what CI runs
	$(PY) -m pytest -n auto --dist worksteal

check: $(READY)  ## format, lint, types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright

bench: $(READY)  ## speed and memory, as ratios measured in one run
	$(PY) bench/losses.py
	$(PY) bench/step.py
	$(PY) bench/loader.py
	$(PY) bench/seeds.py

docs: $(READY)  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

wheel: $(READY)
	$(PY) -m build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet uv==0.13.8
	$(VENV)/bin/uv pip install --quiet --python $(PY) -c constraints.txt --group dev -e '.[app,coco,export,sbd,tensorboard,video]'
	touch $@

clean:
	rm -rf $(VENV) build dist
