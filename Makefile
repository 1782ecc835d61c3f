# make demo    install, train two small networks, certify them through the service
# make test    install what the tests need, run them
# make lint    style, types, documentation, known vulnerabilities of what is installed
# make serve   install and run the service (ARGS="--port 9000" and so on)
# make docs    build the documentation into site/
# make openapi write docs/openapi.json anew, after a change of the interface
# make clean   remove what was installed and built
#
# Needs python3 (3.11 or newer) with its venv module. Another interpreter: make PYTHON=python3.12.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
ARGS ?=

bin := $(VENV)/bin
install := $(bin)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# mkdocs-material announces a successor of MkDocs in every build.
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo test lint serve docs openapi clean

demo: $(VENV)/.installed-demo
	$(bin)/python -m examples.demo $(ARGS)

test: $(VENV)/.installed-test $(VENV)/.servers
	OMP_NUM_THREADS=1 $(bin)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	@site=$$(mktemp -d) && trap 'rm -rf "$$site"' EXIT && \
	  echo "mkdocs build --strict" && $(bin)/mkdocs build --quiet --strict --site-dir "$$site"
	@$(bin)/python .ci/audit.py $(VENV)/.audited

serve: $(VENV)/.installed-serve
	$(bin)/tightrope serve $(ARGS)

docs: $(VENV)/.installed-lint
	$(bin)/mkdocs build --strict

openapi: $(VENV)/.installed-serve
	$(bin)/python -m api.openapi docs/openapi.json

clean:
	rm -rf $(VENV) site demo-output

# Each stamp says that its extras are installed as these files ask for. The client is a distribution
# of its own, from here and not from an index.
$(VENV)/.installed-serve: extras := .
$(VENV)/.installed-demo: extras := .[demo]
$(VENV)/.installed-test: extras := .[test]
$(VENV)/.installed-lint: extras := .[test,docs]
$(VENV)/.installed-%: pyproject.toml client/pyproject.toml constraints.txt | $(bin)/pip
	@echo "installing $(extras)"
	@$(install) --editable ./client --editable "$(extras)"
	@touch $@

# Redis and PostgreSQL for the tests of the team deployment, Chromium for those of the dashboard. Tests
# that need one which is not there are skipped, and say so.
$(VENV)/.servers: tests/install_servers.sh | $(bin)/pip
	@if sh $< </dev/null; then touch $@; else echo "tests that need these programs will be skipped" >&2; fi

$(bin)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Tightrope needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  rm -rf $(VENV); \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$package, which holds Python's venv module"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$$package" >/dev/null; \
	  else \
	    echo "Python's venv module is missing; install it first: apt-get install $$package" >&2; exit 1; \
	  fi; \
	  $(PYTHON) -m venv $(VENV); }
