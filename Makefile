# `make` lists the targets. Each target first installs what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Variables that can be set on the command line, e.g. MODELS="quick quick.1 svm".
COMPETITION ?= digits
known = BLEND BUDGET CLUSTER COMPETITION FILE FILES FOLDS FULL JOBS JSON MODELS NUMBER PORT SEED SLEEP STORAGE TASKS TRIALS
given := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
unknown := $(filter-out $(known) CUDA_% DASK_% KERAS_% MAKEFLAGS PYT% SHELL TF_%,$(given))  # variables of libraries are allowed
ifneq ($(strip $(unknown)),)
$(error unknown variable $(strip $(unknown)); choose from $(known))
endif
options = --competition "$(COMPETITION)"
training = $(options) $(if $(MODELS),--models $(MODELS)) $(if $(FOLDS),--folds $(FOLDS)) \
	$(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(BUDGET),--budget $(BUDGET)) \
	$(if $(CLUSTER),--cluster "$(CLUSTER)")
trains = .venv/.ready $(if $(CLUSTER),.venv/.ready-cluster)

python = .venv/bin/python
run = $(python) -m competition

.PHONY: help
help: ## list the targets
	@echo "make TARGET [COMPETITION=digits] [MODELS=\"quick quick.1 svm\"] [FOLDS=5] [SEED=0] [JOBS=cores] [BUDGET=20m] [BLEND=auto] [CLUSTER=tcp://host:8786]"
	@sed -n -e 's/^## \(.*\)/\n\1/p' -e 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

## start here

.PHONY: submit
submit: $(trains) ## cross-validate, blend and write submissions/submission.csv
	@$(run) submit $(training) $(if $(BLEND),--blend $(BLEND))

.PHONY: cv
cv: $(trains) ## train every model on every fold and print the leaderboard
	@$(run) cv $(training)

.PHONY: data
data: .venv/.ready ## download or create the competition's files and check them
	@$(run) data $(options)

.PHONY: doctor
doctor: .venv/.ready ## check data and machine before a long run: duplicates, drift, label errors, memory, time
	@$(run) doctor $(options) $(if $(MODELS),--models $(MODELS)) $(if $(FOLDS),--folds $(FOLDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

.PHONY: setup
setup: .venv/.ready ## create the virtual environment

## tune

.PHONY: tune
tune: $(trains) $(if $(STORAGE),.venv/.ready-tune) ## search for better hyperparameters and accept validated ones (TRIALS=30, STORAGE=URL of a database)
	@$(run) tune $(training) $(if $(TRIALS),--trials $(TRIALS)) $(if $(STORAGE),--storage "$(STORAGE)")

.PHONY: dashboard
dashboard: .venv/.ready-tune ## serve optuna-dashboard for the studies
	@$(run) dashboard $(options) $(if $(STORAGE),--storage "$(STORAGE)")

.PHONY: safety
safety: .venv/.ready ## measure which augmentations change the class, with the first of MODELS
	@$(run) safety $(options) $(if $(MODELS),--models $(MODELS))

## look at results and use models

.PHONY: report
report: .venv/.ready ## write an HTML report: scores, learning curves, confusion matrix, hardest rows
	@$(run) report $(options) $(if $(MODELS),--models $(MODELS)) $(if $(FOLDS),--folds $(FOLDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(BLEND),--blend $(BLEND))

.PHONY: tensorboard
tensorboard: .venv/.ready-tensorboard ## serve TensorBoard for past and running trainings (PORT=8000)
	@$(run) tensorboard $(options) $(if $(FOLDS),--folds $(FOLDS)) $(if $(SEED),--seed $(SEED)) $(if $(PORT),--port $(PORT))

.PHONY: demo
demo: .venv/.ready-demo ## serve a page to draw on; the members of submission NUMBER= predict the class (PORT=8000)
	@$(run) demo $(options) $(if $(NUMBER),--number $(NUMBER)) $(if $(PORT),--port $(PORT))

.PHONY: predict
predict: .venv/.ready ## predict FILES="a.png folder table.csv" with submission NUMBER= (JSON=1: all probabilities)
	@$(run) predict $(FILES) $(options) $(if $(NUMBER),--number $(NUMBER)) $(if $(JSON),--json)

.PHONY: onnx
onnx: .venv/.ready-onnx ## export the networks of submission NUMBER= as one ONNX file
	@$(run) export-onnx $(options) $(if $(NUMBER),--number $(NUMBER))

## submissions

.PHONY: upload
upload: .venv/.ready ## upload submission NUMBER= to Kaggle and record its score
	@$(run) upload $(options) $(if $(NUMBER),--number $(NUMBER))

.PHONY: grade
grade: .venv/.ready ## evaluate on held-back test labels (practice competitions only; FILE= another submission)
	@$(run) grade $(options) $(if $(FILE),--file "$(FILE)")

.PHONY: reproduce
reproduce: $(trains) ## make submission NUMBER= again and compare the bytes
	@$(run) reproduce $(options) $(if $(NUMBER),--number $(NUMBER)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(CLUSTER),--cluster "$(CLUSTER)")

## clusters

.PHONY: scheduler
scheduler: .venv/.ready-cluster ## start a Dask scheduler, which distributes tasks to workers on several machines
	@$(python) -m dask scheduler

.PHONY: worker
worker: .venv/.ready-cluster ## train on this machine for CLUSTER=tcp://host:8786 (JOBS=cores)
	@$(run) worker $(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(JOBS),--jobs $(JOBS))

.PHONY: rehearse
rehearse: $(trains) ## measure a cluster driver's throughput with TASKS=200 tasks that sleep SLEEP=1s
	@$(python) -m benchmarks scheduling $(options) $(if $(FOLDS),--folds $(FOLDS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(TASKS),--tasks $(TASKS)) $(if $(SLEEP),--sleep $(SLEEP))

## benchmarks

.PHONY: bench
bench: .venv/.ready ## measure training speed; FULL=1 also races recipes
	@$(python) -m benchmarks bench $(options) $(if $(FULL),--full)

.PHONY: presets
presets: .venv/.ready ## train the recipes of tutorials on MNIST and compare with their claims (hours)
	@$(python) -m benchmarks tutorials $(if $(JOBS),--jobs $(JOBS))

## develop

.PHONY: test
test: .venv/.ready-dev ## run the tests
	@$(python) -m pytest

.PHONY: test-all
test-all: .venv/.ready-dev ## run all tests, including the slow ones
	@$(python) -m pytest -m "slow or not slow"

.PHONY: lint
lint: .venv/.ready-dev ## check style, types and spelling
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) -m codespell_lib *.md docs folds/README.md submissions/README.md benchmarks competition tests Makefile requirements*.txt

.PHONY: format
format: .venv/.ready-dev ## fix the style
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

.PHONY: clean
clean: ## remove the environment and caches, but not data, folds or submissions
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find benchmarks competition tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements.txt
	@for candidate in python3.13 python3.12 python3.11 python3 python; do \
		if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			interpreter=$$candidate; \
			if $$interpreter -c 'import venv, ensurepip' 2>/dev/null; then has_venv=yes; break; fi; \
		fi; \
	done; \
	if [ -z "$$interpreter" ]; then \
		echo "error: Python 3.11, 3.12 or 3.13 not found; install one, e.g.: apt install python3 python3-venv" >&2; exit 2; \
	fi; \
	if [ -z "$$has_venv" ]; then \
		echo "error: $$interpreter has no venv package; install it, e.g.: apt install $$($$interpreter -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 2; \
	fi; \
	echo "setting up .venv with $$($$interpreter --version) ..."; \
	$$interpreter -m venv --clear .venv
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.ready-%: .venv/.ready requirements-%.txt
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements-$*.txt
	@touch $@
