# Everything that a newcomer types: `make run`, then `make test`. See README.md.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export NUMAPLACE_DATA ?= ../shared/data
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-labs test-long lab lint bench bench-full nova debian debian-lab clean

run: $(VENV)/.core
	@sh scheduler/demo/run.sh $(BIN)/numaplace

test: debian $(VENV)/.dev
	@if pkg-config --exists libvirt 2>/dev/null; then $(MAKE) --no-print-directory $(VENV)/.libvirt; fi
	$(BIN)/python -m pytest -n 2 --durations 15
	@if [ "$$(id -u)" -ne 0 ] && sudo -n true 2>/dev/null; then \
		echo "The tests of the real libvirtd, with sudo:"; \
		sudo -n env PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/numaplace-hypothesis \
			NUMAPLACE_DATA="$(NUMAPLACE_DATA)" $(BIN)/python -m pytest -m libvirt -p no:cacheprovider; fi

test-labs: debian-lab $(VENV)/.dev $(VENV)/.libvirt
	$(BIN)/python -m tests.lab --build
	$(BIN)/python -m pytest tests/lab -m lab -n 2 --dist loadfile --no-loadscope-reorder --durations 15 -v -raP

lab: debian-lab $(VENV)/.dev $(VENV)/.libvirt
	$(BIN)/python -m tests.lab $(HOSTS)

test-long: debian $(VENV)/.dev
	@if pkg-config --exists libvirt 2>/dev/null; then $(MAKE) --no-print-directory $(VENV)/.libvirt; fi
	NUMAPLACE_HYPOTHESIS=long $(BIN)/python -m pytest -n 2 --timeout 3600 -m "not lab"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

POLICIES := unpinned solver place-one best-fit worst-fit libxl xenopsd numad nova-spread nova-pack kubelet-single-numa-node ovirt

bench: $(VENV)/.bench # each runs whatever the others missed; the status is 1 where any missed something
	@missed=""; for part in startup batches one-guest online peers; do \
		echo "$(BIN)/numaplace bench $$part"; $(BIN)/numaplace bench $$part || missed="$$missed $$part"; done; \
	rm -rf bench-results; $(BIN)/numaplace bench run $(addprefix --policy ,$(POLICIES)) --seeds 1-3 --results bench-results || missed="$$missed run"; \
	$(BIN)/numaplace bench report bench-results -o bench-results/report.html || missed="$$missed report"; \
	if [ -n "$$missed" ]; then echo "missed:$$missed"; exit 1; fi

bench-full: $(VENV)/.bench nova
	$(BIN)/numaplace bench batches --full --results benchmarks/results.json
	$(BIN)/numaplace bench online --nova .venv-nova/bin/python

nova: .venv-nova/.nova # OpenStack's own code, in an environment of its own: only measured against

.venv-nova/.nova:
	$(PYTHON) -m venv .venv-nova
	.venv-nova/bin/python -m pip install --quiet --disable-pip-version-check nova
	@touch $@

debian:
	@sh tests/debian.sh

debian-lab:
	@sh tests/debian.sh lab

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "Installing numaplace and what it needs into $(VENV), about a minute …"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.core
	@echo "Installing what the tests need into $(VENV) …"
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.core
	@$(PIP) --editable '.[bench,report]'
	@touch $@

$(VENV)/.libvirt: pyproject.toml | $(VENV)/.core
	@echo "Building libvirt-python into $(VENV) …"
	@$(PIP) --editable '.[libvirt]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-nova demo bench-results .pytest_cache .mypy_cache .ruff_cache
