# The targets of this project; `make` alone lists them. Every target first installs what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Variables that can be set on the command line, e.g. MODELS="quick quick.1 svm". The program reads them from the
# environment, as FOLDBLEND_MODELS etc.; `foldblend COMMAND --help` explains each of them.
variables = BLEND BUDGET CLUSTER COMPETITION FILE FOLDS FULL INFER JOBS JSON MODELS NAME NUMBER OOF PORT PUSH REFIT SEED SLEEP SPLIT \
	STORAGE TASKS TEST TRIALS VALUE WAIT YES
known = FILES $(variables)
given := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
unknown := $(filter-out $(known) CUDA_% DASK_% KERAS_% MAKEFLAGS PYT% SHELL TF_%,$(given))  # variables of libraries are allowed
ifneq ($(strip $(unknown)),)
$(error unknown variable $(strip $(unknown)); choose from $(known))
endif
$(foreach name,$(variables),$(if $($(name)),$(eval export FOLDBLEND_$(name) := $(value $(name)))))
export FOLDBLEND_MAKE := yes

python = .venv/bin/python
run = $(python) -m competition
uv_version = 0.13.9
install = $(python) -m uv pip install --quiet --require-hashes
practice = digits digits8 mnist
# Kaggle's client, if the competition's files are not there yet and have to be downloaded.
competition := $(filter-out $(practice),$(COMPETITION:%/=%))
downloaded := $(if $(competition),$(wildcard data/$(competition)/train* $(addprefix data/$(competition)/*.,zip 7z tar tgz gz)))
reads = .venv/.ready $(if $(competition),$(if $(downloaded),,.venv/.ready-kaggle))
trains = $(reads) $(if $(CLUSTER),.venv/.ready-cluster)
commands = check-augmentation cv dashboard data demo doctor export export-onnx grade import kernel record-score report \
	reproduce scheduler submit tensorboard tune upload worker

.PHONY: $(commands)
$(commands):
	@$(run) $@

.PHONY: help
help: ## list the targets
	@echo 'make TARGET [COMPETITION=digits] [MODELS="quick quick.1 svm"] [FOLDS=5] [SEED=0] [JOBS=cores] [BUDGET=20m] [BLEND=auto] [REFIT=0] [CLUSTER=tcp://host:8786]'
	@awk -F ':.*## ' '/^## / { print ""; print substr($$0, 4) } /^[a-z-]+:.*## / { printf "  %-20s  %s\n", $$1, $$2 }' Makefile

## start here

submit: $(trains) ## cross-validate, blend and write submissions/submission.csv
cv: $(trains) ## train every model on every fold and print their scores
data: $(reads) ## download or create the competition's files and check them
doctor: $(reads) ## check data and machine: duplicates, distribution shift, label errors, memory, time

.PHONY: setup
setup: .venv/.ready ## create the virtual environment

## tune

tune: $(trains) $(if $(STORAGE),.venv/.ready-tune) ## search for better hyperparameters and accept validated ones (TRIALS=30, STORAGE=URL of a database)
dashboard: .venv/.ready-tune ## serve optuna-dashboard for the studies
check-augmentation: $(reads) ## measure which augmentations change the class, using the first image model in MODELS

## look at results and use models

report: .venv/.ready ## write an HTML report: scores, learning curves, confusion matrix, hardest rows
tensorboard: .venv/.ready-tensorboard ## serve TensorBoard for past and current training runs (PORT=8000)
demo: .venv/.ready-demo ## serve a page to draw on; the members of submission NUMBER= predict the class (PORT=8000)

.PHONY: predict
predict: .venv/.ready ## predict FILES="a.png folder 'a table.csv'" with submission NUMBER= (JSON=1: all probabilities)
	@$(run) predict $(FILES)

export-onnx: .venv/.ready-onnx ## export the networks of submission NUMBER= as one ONNX file

## submissions and teammates

upload: .venv/.ready-kaggle ## upload submission NUMBER= to Kaggle after asking, and record its score (WAIT=5m, YES=1: do not ask)
kernel: .venv/.ready $(if $(PUSH),.venv/.ready-kaggle) ## write a script that trains on Kaggle's machines (PUSH=1: push it, wait, fetch its predictions; INFER=1: only predict, with submission NUMBER=)
record-score: .venv/.ready ## record the leaderboard's score VALUE= of submission NUMBER=
grade: .venv/.ready ## evaluate on held-back test labels (practice competitions only; FILE= another submission)
reproduce: $(trains) ## make submission NUMBER= again and compare the bytes
import: .venv/.ready ## import predictions made elsewhere as member @NAME (NAME= OOF= TEST=, maybe SPLIT=)
export: .venv/.ready ## write the predictions of each model in MODELS as CSV files

## clusters

scheduler: .venv/.ready-cluster ## start a Dask scheduler, which distributes tasks to workers on several machines
worker: .venv/.ready-cluster ## train on this machine for CLUSTER=tcp://host:8786 (JOBS=cores)

## benchmarks

.PHONY: bench
bench: .venv/.ready ## measure training speed; FULL=1 also races recipes
	@$(python) -m benchmarks bench

.PHONY: benchmark-cluster
benchmark-cluster: $(trains) ## measure a cluster driver's throughput with TASKS=200 tasks that sleep SLEEP=1s
	@$(python) -m benchmarks cluster

.PHONY: benchmark-tutorials
benchmark-tutorials: .venv/.ready ## train the recipes of tutorials on MNIST and compare with their claims (hours)
	@$(python) -m benchmarks tutorials

.PHONY: benchmark-competitions
benchmark-competitions: .venv/.ready-dev ## read miniatures of 24 real competitions and print what is inferred for each
	@$(python) -m benchmarks competitions

.PHONY: screenshots
screenshots: .venv/.ready-dev ## update the screenshots in docs/, from the report and the submission of COMPETITION=
	@$(python) -m benchmarks screenshots

## develop

.PHONY: test
test: .venv/.ready-dev ## run the quick tests (5 minutes)
	@$(python) -m pytest

.PHONY: test-integration
test-integration: .venv/.ready-dev ## run the tests of whole commands, clusters and training runs (20 minutes)
	@$(python) -m pytest -m "integration and not slow"

.PHONY: test-all
test-all: .venv/.ready-dev ## run all tests, including the slow ones (hours)
	@$(python) -m pytest -m ""

.PHONY: mutate
mutate: .venv/.ready-dev .venv/.ready-mutate ## change the code behind folds, scores, blends and submissions, and count the changes that no test notices (half an hour)
	@OMP_NUM_THREADS=1 $(python) -m mutmut run  # a process forked from one with threads may hang
	@$(python) -m mutmut results --all true | awk -F ': ' '{ sub(/^ +/, "", $$1); sub(/\.x[^.]*$$/, "", $$1); n[$$1 ": " $$2]++ } END { for (key in n) print key, n[key] }' | sort

.PHONY: lint
lint: .venv/.ready-dev ## check style, types and spelling
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) -m codespell_lib *.md docs folds/README.md submissions/README.md benchmarks competition tests Makefile pyproject.toml

.PHONY: format
format: .venv/.ready-dev ## fix the style
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

.PHONY: docs
docs: .venv/.ready-docs ## build the documentation as a site, site/html/, and check its links
	@$(python) -m docs.site
	@$(python) -m zensical build --clean --strict

extras = cluster demo docs jax kaggle mutate notebook onnx tensorboard tune
compile = $(python) -m uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
	--generate-hashes --no-annotate --custom-compile-command "make lock"
lock_command = $(compile) pyproject.toml

.PHONY: lock
lock: .venv/.ready ## renew requirements*.txt from pyproject.toml; versions change only where they must
	@$(lock_command) --extra dev -o requirements-dev.txt
	@$(lock_command) -c requirements-dev.txt -o requirements.txt
	@printf 'uv==$(uv_version)\nflit-core>=3.12\n' | $(compile) - -o requirements-build.txt
	@for extra in $(extras); do $(lock_command) --extra $$extra -c requirements-dev.txt -o requirements-$$extra.txt || exit 1; done

.PHONY: clean
clean: ## remove the environment and caches, but not data, folds or submissions
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis .cache mutants site
	@find benchmarks competition docs tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements.txt requirements-build.txt
	@for candidate in python3.13 python3.12 python3.11 python3 python; do \
		if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			found=$$candidate; \
			if $$found -c 'import venv, ensurepip' 2>/dev/null; then has_venv=yes; break; fi; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "error: Python 3.11, 3.12 or 3.13 not found; install one, e.g.: apt install python3 python3-venv" >&2; exit 2; \
	fi; \
	if [ -z "$$has_venv" ]; then \
		echo "error: $$found has no venv package; install it, e.g.: apt install $$($$found -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 2; \
	fi; \
	echo "setting up .venv with $$($$found --version) ..."; \
	$$found -m venv --clear .venv
	@$(python) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.txt
	@$(install) -r requirements.txt
	@$(python) -m uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.ready-%: .venv/.ready requirements-%.txt
	@$(install) -r requirements-$*.txt
	@touch $@
