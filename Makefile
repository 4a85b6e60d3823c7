# Set-up, demonstration, tests. `make help` lists the targets.
#
#   make test ARGS="-k house"     arguments for pytest
#   make demo PYTHON=/a/python3   another Python than the one that would be found

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test test-networks benchmark screenshots lint cmake-lists system-libraries clean

VENV := .venv
BIN := $(VENV)/bin
NETWORKS := .venv-networks
TORCH := torch==2.13.0
PYTHON ?=
ARGS ?=
# One process more than cores, since tests of the panel wait for half of their time; all tests of a file in one of them,
# since they share a scene.
WORKERS = -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 8 --dist loadfile

# 3.12 is the Python of Slicer 5.10 and 5.12. A python3.12 found on the path may be a pyenv shim that only prints an
# error, so every candidate is run before it is believed; pyenv's own folder is looked at as well.
PYENV := $${PYENV_ROOT:-$$HOME/.pyenv}/versions
CANDIDATES = $(or $(PYTHON),python3.12 $(PYENV)/3.12.*/bin/python3.12 python3.11 $(PYENV)/3.11.*/bin/python3.11 python3)
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# What off-screen rendering needs on Debian and Ubuntu.
LIBRARIES := libegl1 libegl-mesa0 libgl1-mesa-dri libgl1 libx11-6 libxkbcommon0 libfontconfig1 libdbus-1-3 \
             libglib2.0-0 fonts-dejavu-core

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: $(VENV)/installed system-libraries ## maps, figure, scene and table of errors of a phantom, in demo-output/
	@$(BIN)/ivim demo --out demo-output

test: $(VENV)/installed system-libraries ## all tests
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

# In an environment of its own, because everything else must work without torch. The pinned release is the one that the
# bundled models were trained with. Trainings through the panel take longest, hence they come first and in their order.
test-networks: $(NETWORKS)/tried system-libraries ## tests of the networks, with PyTorch, in .venv-networks
	@if [ -f $(NETWORKS)/installed ]; then \
	  $(NETWORKS)/bin/python -m pytest $(wildcard Testing/slicer/Training*TestCase.py) Testing/torch \
	    Testing/core/test_cards.py Testing/core/test_posterior_torch.py $(WORKERS) --no-loadscope-reorder $(ARGS); \
	else \
	  echo "The networks are not tested: $(TORCH) cannot be installed here (Python 3.11; see $(NETWORKS)/install.log)."; \
	fi

benchmark: $(VENV)/installed ## accuracy and time of every estimator
	@for file in Testing/benchmarks/[!_]*.py; do \
	  [ -f "$$file" ] || { echo "Testing/benchmarks holds no benchmark."; break; }; \
	  echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; \
	done

screenshots: $(VENV)/installed system-libraries ## pictures of the panel for the README, in Resources/Screenshots
	@$(BIN)/python Testing/slicer/IVIMScreenshots.py Resources/Screenshots

lint: $(VENV)/installed-lint ## style of the code
	@$(BIN)/python -m ruff check .

cmake-lists: $(VENV)/installed ## rewrite the file lists of every CMakeLists.txt
	@$(BIN)/python Testing/core/test_house.py

clean: ## remove everything these targets make
	rm -rf $(VENV) $(NETWORKS) demo-output build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +

# Done again only when pyproject.toml has changed. A folder made for another place or Python is made anew.
$(VENV)/installed: pyproject.toml
	@if ! $(BIN)/python -c '$(USABLE)' 2>/dev/null; then \
	  rm -rf $(VENV); found=; \
	  for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No Python 3.11 or newer with venv was found. Install one (Debian, Ubuntu: python3 python3-venv)" \
	         "or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version) ..."; \
	  "$$found" -m venv $(VENV) || exit 1; \
	fi
	@echo "Installing the project and what it needs into $(VENV) (about 2 GB, once) ..."
	@$(call pip,.[all$(COMMA)test],install)
	@touch $@

$(NETWORKS)/tried: pyproject.toml
	@rm -rf $(NETWORKS); mkdir -p $(NETWORKS); \
	for candidate in $(or $(PYTHON_NETWORKS),python3.11 $(PYENV)/3.11.*/bin/python3.11); do \
	  if "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then \
	    echo "Installing $(TORCH) and the project into $(NETWORKS) ..."; \
	    "$$candidate" -m venv $(NETWORKS) && $(NETWORKS)/bin/python -m pip install --disable-pip-version-check \
	      --editable ".[all,networks,attention,test]" "$(TORCH)" > $(NETWORKS)/install.log 2>&1 && touch $(NETWORKS)/installed; \
	    break; \
	  fi; \
	done; \
	touch $@

$(VENV)/installed-lint: $(VENV)/installed
	@$(call pip,.[lint],lint)
	@touch $@

COMMA := ,
# Quiet while it works, everything it said when it does not.
pip = $(BIN)/python -m pip install --disable-pip-version-check --editable "$(1)" > $(VENV)/$(2).log 2>&1 \
  || { cat $(VENV)/$(2).log >&2; echo "Installing with pip failed; its words stand above." >&2; exit 1; }

# Pictures of the scene need these; maps, tables and tests of the core do not, so a missing one is told and no fault.
system-libraries:
	@[ "$$(uname -s)" = Linux ] || exit 0; \
	missing=; \
	if command -v dpkg-query >/dev/null 2>&1; then \
	  for name in $(LIBRARIES); do \
	    dpkg-query --status $$name >/dev/null 2>&1 || dpkg-query --status $${name}t64 >/dev/null 2>&1 \
	      || missing="$$missing $$name"; \
	  done; \
	  if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing system libraries for pictures of the scene:$$missing"; \
	    log=$$(mktemp); export DEBIAN_FRONTEND=noninteractive; \
	    if { apt-get update -q && apt-get install -q -y --no-install-recommends $$missing; } >"$$log" 2>&1; then \
	      missing=; \
	    else \
	      tail -n 5 "$$log" >&2; \
	    fi; \
	    rm -f "$$log"; \
	  fi; \
	elif ! ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1'; then \
	  missing=" (as Debian calls them) $(LIBRARIES)"; \
	fi; \
	[ -z "$$missing" ] || echo "Without these system libraries there are no pictures of the scene:$$missing" \
	  "(as root: apt-get install$$missing)" >&2
