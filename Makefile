# Two commands do everything: `make dashboard` and `make test`. Each makes .venv itself, from the
# pinned versions of constraints.txt, and makes it anew when pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
# The first Python of at least 3.11 that can make a virtual environment.
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 python3.14 python,$(shell \
	$(name) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
PIP := $(BIN)/python -m pip --disable-pip-version-check
POSTGRESQL := $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb) $(shell command -v initdb))
CHROMIUM := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))
PORT ?= 8866
SCREEN := widgets/js

.PHONY: help dashboard lab docs test lint unit chromium postgresql javascript views bundle device-runtime constraints
.PHONY: clean

help:
	@echo 'make dashboard    install, start the dashboard on the bundled models, print its address (PORT=$(PORT))'
	@echo 'make lab          install, open the notebooks in JupyterLab'
	@echo 'make docs         build the documentation into build/docs, and check its links'
	@echo 'make test         install with the test tools, check the style and the types, run every test'
	@echo 'make lint         style and types only'
	@echo 'make views        write what the JavaScript of the screen takes from Python: types, and the glossary'
	@echo 'make bundle       build the JavaScript of the screen again (needs npm)'
	@echo 'make device-runtime  pack the runtime of the page for devices again (needs npm)'
	@echo 'make constraints  resolve the dependencies anew and pin them'
	@echo 'make clean        remove .venv, builds and caches'

dashboard: $(VENV)/installed
	@$(BIN)/workbench dashboard --port $(PORT)

lab: $(VENV)/installed
	@cd notebooks && ../$(BIN)/python -m jupyter lab

# Warnings are errors, and nothing is fetched, neither here nor by who reads the pages.
docs: $(VENV)/documented-with
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python docs/site/check.py build/docs

test: lint chromium postgresql javascript unit

# Two files of tests at a time, in their order (one that ends its process ends the run: with a new process it would
# wait forever for what the old one had); then the stories in a browser, alone, since they watch the clock.
unit: $(VENV)/tested-with
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 -m 'not browser' --durations=15
	$(BIN)/python -m pytest -m browser --durations=6
endif

$(VENV)/documented-with: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

lint: $(VENV)/tested-with
	$(BIN)/ruff check .
	$(BIN)/mypy

# The types of what the panels show and the words that the screen explains, from Python's: tests find them out of date.
views: $(VENV)/installed
	@mkdir -p build
	$(BIN)/python $(SCREEN)/declare.py > build/views.d.ts && mv build/views.d.ts $(SCREEN)/src/views.d.ts
	$(BIN)/python $(SCREEN)/terms.py > build/terms.js && mv build/terms.js $(SCREEN)/src/terms.js

# The JavaScript of the screen, which is committed: only who changes widgets/js needs this.
bundle:
	cd $(SCREEN) && npm ci --no-audit --no-fund && npm run build

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

# $(1): what it is, $(2): which packages of Debian that is, $(3): what is skipped without it, and says so.
define fetched
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo 'Installing $(1) for $(3)'; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(2) >/dev/null \
		|| echo '$(1) could not be installed: $(3) will be skipped'; \
else \
	echo 'No $(1) here: $(3) will be skipped'; \
fi
endef

chromium:
ifeq ($(CHROMIUM),)
	@$(call fetched,Chromium,chromium,the browser tests)
endif

# The server of shared studies; the tests start one of their own, with its data in a folder of theirs.
postgresql:
ifeq ($(POSTGRESQL),)
	@$(call fetched,PostgreSQL,postgresql,the tests of shared studies)
endif

# Node, and the packages that check and build the screen's JavaScript.
javascript:
	@command -v npm >/dev/null || $(call fetched,npm,--no-install-recommends nodejs npm,the checks of the JavaScript)
	@cd $(SCREEN) && if command -v npm >/dev/null && ! [ node_modules/.package-lock.json -nt package-lock.json ]; then \
		npm ci --no-audit --no-fund --silent \
			|| echo 'The packages of $(SCREEN) could not be installed: what needs them will be skipped'; \
	fi

# ONNX Runtime for browsers, which is committed: only who changes its version in widgets/device-runtime needs this.
device-runtime: $(VENV)/installed
	cd widgets/device-runtime && npm ci --no-audit --no-fund --ignore-scripts && ../../$(BIN)/python pack.py

# Resolved in an empty environment. torch is pinned by hand: see CONTRIBUTING.md.
constraints:
	@rm -rf build/resolve
	$(PYTHON) -m venv build/resolve
	build/resolve/bin/python -m pip install --quiet --editable '.[test,docs]' 'torch==2.13.0'
	{ sed -n '/^#/p' constraints.txt; build/resolve/bin/python -m pip freeze --all --exclude-editable \
		| sed -e '/^pip==/d' -e 's/+cpu$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
