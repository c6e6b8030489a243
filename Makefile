# make demo    a private study of sarcoma patients, from nothing to its report
# make test    everything that must hold, from nothing
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-fast test-slow test-oldest test-newest lint format docs benchmark lock clean

demo: $(READY)
	$(BIN)/skdpal demo

# the kernel's own tests reach every branch of it; tracing the others would cost a third of their time
MACHINE := tests/privacy/test_machine.py::test_a_planted_fault_is_caught
test: $(READY) lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not benchmark" tests/privacy skdpal/privacy --deselect $(MACHINE) --cov=skdpal/privacy --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not benchmark" tests skdpal $(MACHINE) --ignore=tests/privacy --ignore=skdpal/privacy

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not slow and not benchmark" --ignore=tests/statistical --ignore=tests/report

test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow --timeout=3000

# what every estimator must do, on the oldest versions that pyproject.toml allows
test-oldest: build/oldest/.ready
	build/oldest/bin/python -m pytest -n 2 --dist worksteal -q -p no:cacheprovider -m "not slow and not benchmark" tests/estimators/test_sklearn_contract.py tests/estimators/test_linear.py tests/estimators/test_scoring.py tests/estimators/neural/test_contract.py tests/estimators/neural/test_classifier.py tests/estimators/neural/test_encoder.py tests/estimators/public/test_contract.py tests/learner/test_learner.py tests/query tests/test_modal.py tests/modal

# the same on pandas 3, without the extra omics
test-newest: build/newest/.ready
	env -u REQUIRE_ALL build/newest/bin/python -m pytest -n 2 --dist worksteal -q -p no:cacheprovider -m "not slow and not benchmark" tests/estimators/test_sklearn_contract.py tests/estimators/test_ecosystem.py tests/estimators/public/test_contract.py tests/datasets tests/query tests/learner/test_learner.py tests/learner/test_worksheet.py tests/learner/test_study.py tests/cohort

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# the pages, in docs/_build/html; a warning is an error
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build/html

benchmark: $(READY)
	$(BIN)/python -m tests.benchmarks.srbct --quick

# the environment: locked versions, made anew when the lock or the project's metadata change
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

build/oldest/.ready: requirements-oldest.txt pyproject.toml
	$(PYTHON) -m venv --clear build/oldest
	build/oldest/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements-oldest.txt
	build/oldest/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

build/newest/.ready: requirements.lock requirements-newest.txt pyproject.toml
	$(PYTHON) -m venv --clear build/newest
	sed -e '/^pandas==/d' -e '/^anndata==/d' -e '/^mudata==/d' requirements.lock > build/newest/requirements.txt
	build/newest/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r build/newest/requirements.txt -r requirements-newest.txt
	build/newest/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# diffprivlib, OpenDP and modAL's newest, for tests/benchmarks/{cohorts,peers}
build/peers/.ready: requirements-peers.txt
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements-peers.txt
	touch $@

# newest versions that work together; look at the difference before you commit it
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet 'torch==2.13.0' hatchling editables -e '.[docs,test]'
	build/lock/bin/python -m pip freeze --exclude-editable | sed -e 's/+cpu$$//' -e '/^skdpal/d' > requirements.lock

clean:
	rm -rf $(VENV) build dist docs/_build docs/api/generated docs/notebooks skdpal-demo .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
