# Two commands do everything: `make dashboard` and `make test`. Each makes .venv itself, from the
# pinned versions of constraints.txt, and makes it anew when pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
# The first Python of at least 3.11 that can make a virtual environment.
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 python3.14 python,$(shell \
	$(name) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
PIP := $(BIN)/python -m pip --disable-pip-version-check
CHROMIUM := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))
PORT ?= 8866

.PHONY: help dashboard lab test lint unit chromium bundle constraints clean

help:
	@echo 'make dashboard    install, start the dashboard on the bundled models, print its address (PORT=$(PORT))'
	@echo 'make lab          install, open the notebooks in JupyterLab'
	@echo 'make test         install with the test tools, check the style and the types, run every test'
	@echo 'make lint         style and types only'
	@echo 'make bundle       build the JavaScript of the screen again (needs npm)'
	@echo 'make constraints  resolve the dependencies anew and pin them'
	@echo 'make clean        remove .venv, builds and caches'

dashboard: $(VENV)/installed
	@$(BIN)/workbench dashboard --port $(PORT)

lab: $(VENV)/installed
	@cd notebooks && ../$(BIN)/python -m jupyter lab

test: lint chromium unit

# Two files of tests at a time, in their order; then the stories in a browser, alone, since they watch the clock.
unit: $(VENV)/tested-with
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not browser' --durations=15
	$(BIN)/python -m pytest -m browser --durations=6
endif

lint: $(VENV)/tested-with
	$(BIN)/ruff check .
	@mkdir -p build/types && ln -sfn ../../widgets build/types/workbench_widgets
	$(BIN)/mypy

# The one JavaScript module of the screen, which is committed: only who changes widgets/js needs this.
bundle:
	cd widgets/js && npm ci --no-audit --no-fund && npm run build

define need_python
@test -n '$(PYTHON)' || { echo 'The workbench needs Python 3.11 or newer with its venv module' \
	'(on Debian: apt install python3-venv). Name another with: make PYTHON=/path/to/python'; exit 1; }
endef

$(VENV)/installed: pyproject.toml constraints.txt
	$(need_python)
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[lab]'
	@touch $@

# The test tools bring all that the dashboard needs, so one installation is enough.
$(VENV)/tested-with: pyproject.toml constraints.txt
	$(need_python)
	@test $(VENV)/installed -nt pyproject.toml -a $(VENV)/installed -nt constraints.txt || \
		$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[test]'
	@touch $(VENV)/installed $@

# The browser tests want a Chromium. Where none can be had they are skipped, and say so.
chromium:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo 'Installing Chromium for the browser tests'; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null \
			|| echo 'Chromium could not be installed: the browser tests will be skipped'; \
	else \
		echo 'No Chromium here: the browser tests will be skipped'; \
	fi
endif

# Resolved in an empty environment. torch is pinned by hand: see CONTRIBUTING.md.
constraints:
	@rm -rf build/resolve
	$(PYTHON) -m venv build/resolve
	build/resolve/bin/python -m pip install --quiet --editable '.[test]' 'torch==2.13.0'
	{ sed -n '/^#/p' constraints.txt; build/resolve/bin/python -m pip freeze --all --exclude-editable \
		| sed -e '/^pip==/d' -e 's/+cpu$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
