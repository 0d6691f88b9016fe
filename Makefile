# Two commands do everything: `make figures` and `make test`. Both make the environment first.
VENV := .venv
RUN := $(VENV)/bin/python
# The first of these that works; TensorFlow has builds for Python 3.11 to 3.13.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

.PHONY: figures test notebooks badges lint clean

figures: $(VENV)/ready
	$(RUN) notebooks/series.py run

test: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist worksteal

# For those who change a notebook: run it all and keep the outputs.
notebooks: $(VENV)/ready
	$(RUN) notebooks/series.py run --save

# make badges REPO=owner/name REF=branch
badges: $(VENV)/ready
	$(RUN) notebooks/series.py stamp $(if $(REPO),--repo $(REPO)) $(if $(REF),--ref $(REF))

lint: $(VENV)/ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

$(VENV)/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with venv was found; install one, or run make PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install -qq --upgrade pip
	$(RUN) -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	touch $@

# Removes what the commands made, the environment and downloaded data included.
clean:
	rm -rf $(VENV) results data/demo data/snapshots
