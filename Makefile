# Two commands do everything: `make figures` and `make test`. Both make the environment first.
VENV := .venv
# Linux: as batch work. Else the two threads of a training are often kept on one core; alone it took up to 1.8 times as long.
BATCH := $(shell chrt --batch 0 true 2>/dev/null && echo chrt --batch 0)
RUN := $(BATCH) $(VENV)/bin/python
COLAB := .venv-colab
# The first of these that works; TensorFlow has builds for Python 3.11 to 3.13.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

# Colab has Python 3.13; without one, the same packages are tested with the Python above.
COLAB_PYTHON ?= $(or $(shell for p in python3.13 ~/.pyenv/versions/3.13*/bin/python3.13; do \
	$$p -c 'import venv, ensurepip' 2>/dev/null && echo $$p && break; done),$(PYTHON))

.PHONY: figures redraw long real book start test test-backends test-colab notebooks badges lint clean

figures: $(VENV)/ready
	$(RUN) notebooks/series.py run

# Draws the papers' figures again from the tables in figures/, without training.
redraw: $(VENV)/ready
	$(RUN) -m helpers.plots

# Hours: trains Choi's networks until early stopping decides, for notebooks 06 and 07. Stop it and go on as you like.
long: $(VENV)/ready
	$(RUN) notebooks/long_run.py

# Hours: five folds by artist on real songs, for notebook 08: make real CRNN_DATA=data/billboard. Stop it and go on as you like.
real: $(VENV)/ready
	$(RUN) notebooks/real_music.py

# A static site in book/_build/html, from the notebooks as they are; open its index.html in a browser.
book: $(VENV)/ready
	$(RUN) -m sphinx -q -c book . book/_build/html
	@cp book/_build/html/README.html book/_build/html/index.html
	@echo "The book is in book/_build/html; open index.html there."

# Sets up, and opens JupyterLab on the first notebook.
start: $(VENV)/ready
	$(VENV)/bin/jupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/00_start_here.ipynb

test: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist worksteal

# With JAX beside TensorFlow: the same answers, training, two devices. PyTorch is tested too if it is installed.
test-backends: $(VENV)/ready
	$(RUN) -m pip install -qq --constraint constraints.txt --editable '.[jax]'
	$(RUN) -m pytest tests/test_backends.py

# Runs the notebooks with Colab's packages and folders: all, or make test-colab NOTEBOOKS="00 04".
test-colab: $(COLAB)/ready
	NOTEBOOKS="$(NOTEBOOKS)" $(COLAB)/bin/python -Xfrozen_modules=off tests/colab/run.py

# For those who change a notebook: run all, or make notebooks NAMES="04 05", and keep the outputs.
notebooks: $(VENV)/ready
	$(RUN) notebooks/series.py run --save $(NAMES)

# make badges REPO=owner/name REF=branch
badges: $(VENV)/ready
	$(RUN) notebooks/series.py stamp $(if $(REPO),--repo $(REPO)) $(if $(REF),--ref $(REF))

lint: $(VENV)/ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

$(VENV)/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with venv was found; install one, or run make PYTHON=/path/to/python."; exit 1; }
	@test "$$(uname -sm)" != "Darwin x86_64" || { echo "TensorFlow has no build for Macs with an Intel processor."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install -qq --upgrade pip
	$(RUN) -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	@# Two processes that fill numba's cache at once can mix their files, and every later one then crashes.
	$(RUN) -c "import numpy as np; from helpers.audio import segments_pitches; segments_pitches(np.sin(np.arange(24000.0)))"
	touch $@

# Without the project and, in the end, without pip: nothing more can be installed.
$(COLAB)/ready: tests/colab/packages-2026-08-19.txt
	@test -n "$(COLAB_PYTHON)" || { echo "No Python 3.13 was found; run make test-colab COLAB_PYTHON=/path/to/python."; exit 1; }
	@$(COLAB_PYTHON) -c 'import sys; v = sys.version_info; print(f"Colab has Python 3.13; here it is {v[0]}.{v[1]}.")'
	$(COLAB_PYTHON) -m venv --clear $(COLAB)
	$(COLAB)/bin/python -m pip install -qq --upgrade pip
	$(COLAB)/bin/python -m pip install -qq --requirement $<
	$(COLAB)/bin/python -m pip uninstall -qq --yes pip
	touch $@

# Removes the environments, the demo set, snapshots and all that was trained; what was downloaded stays.
clean:
	rm -rf $(VENV) $(COLAB) results data/demo data/snapshots
