# The verbs of this project; `make` alone lists them. Every verb sets up what it needs first.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Variables that one may give on the command line, such as MODELS="quick quick.1 svm".
COMPETITION ?= digits
known = ASLEEP BLEND BUDGET CLUSTER COMPETITION FILE FILES FOLDS FULL JOBS JSON MODELS NUMBER PORT SEED STORAGE TASKS TRIALS
given := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
unknown := $(filter-out $(known) CUDA_% DASK_% KERAS_% MAKEFLAGS PYT% SHELL TF_%,$(given))  # those of libraries pass
ifneq ($(strip $(unknown)),)
$(error $(strip $(unknown)) is unknown; there are $(known))
endif
options = --competition "$(COMPETITION)"
training = $(options) $(if $(MODELS),--models $(MODELS)) $(if $(FOLDS),--folds $(FOLDS)) \
	$(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(BUDGET),--budget $(BUDGET)) \
	$(if $(CLUSTER),--cluster "$(CLUSTER)")
trains = .venv/.ready $(if $(CLUSTER),.venv/.ready-cluster)

python = .venv/bin/python
run = $(python) -m competition

.PHONY: help
help: ## list the verbs
	@echo "make VERB [COMPETITION=digits] [MODELS=\"quick quick.1 svm\"] [FOLDS=5] [SEED=0] [JOBS=cores] [BUDGET=20m] [BLEND=auto] [CLUSTER=tcp://host:8786]"
	@sed -n -e 's/^## \(.*\)/\n\1/p' -e 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

## begin here

.PHONY: submit
submit: $(trains) ## cross-validate, blend, write submissions/submission.csv
	@$(run) submit $(training) $(if $(BLEND),--blend $(BLEND))

.PHONY: cv
cv: $(trains) ## train every model on every fold, print the leaderboard
	@$(run) cv $(training)

.PHONY: data
data: .venv/.ready ## bring the competition's files and check them
	@$(run) data $(options)

.PHONY: doctor
doctor: .venv/.ready ## look for what spoils scores or a night: copies, drift, wrong labels, memory, time
	@$(run) doctor $(options) $(if $(MODELS),--models $(MODELS)) $(if $(FOLDS),--folds $(FOLDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS))

.PHONY: setup
setup: .venv/.ready ## make the environment

## improve

.PHONY: tune
tune: $(trains) $(if $(STORAGE),.venv/.ready-tune) ## search better settings, adopt what is proved (TRIALS=30, STORAGE=URL of a database)
	@$(run) tune $(training) $(if $(TRIALS),--trials $(TRIALS)) $(if $(STORAGE),--storage "$(STORAGE)")

.PHONY: dashboard
dashboard: .venv/.ready-tune ## open optuna-dashboard on the studies
	@$(run) dashboard $(options) $(if $(STORAGE),--storage "$(STORAGE)")

.PHONY: safety
safety: .venv/.ready ## which changes of images change their class, by the first of MODELS
	@$(run) safety $(options) $(if $(MODELS),--models $(MODELS))

## look at it

.PHONY: report
report: .venv/.ready ## write a page to look at: scores, the hardest rows, who votes how
	@$(run) report $(options) $(if $(MODELS),--models $(MODELS)) $(if $(FOLDS),--folds $(FOLDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(BLEND),--blend $(BLEND))

.PHONY: tensorboard
tensorboard: .venv/.ready-tensorboard ## open TensorBoard on the networks' training, live from now on (PORT=8000)
	@$(run) tensorboard $(options) $(if $(FOLDS),--folds $(FOLDS)) $(if $(SEED),--seed $(SEED)) $(if $(PORT),--port $(PORT))

.PHONY: demo
demo: .venv/.ready-demo ## draw a digit, and the members of submission NUMBER= answer (PORT=8000)
	@$(run) demo $(options) $(if $(NUMBER),--number $(NUMBER)) $(if $(PORT),--port $(PORT))

.PHONY: predict
predict: .venv/.ready ## label FILES="a.png folder table.csv" as submission NUMBER= does (JSON=1: all probabilities)
	@$(run) predict $(FILES) $(options) $(if $(NUMBER),--number $(NUMBER)) $(if $(JSON),--json)

.PHONY: onnx
onnx: .venv/.ready-onnx ## write the networks of submission NUMBER= as one ONNX file, to use them anywhere
	@$(run) export-onnx $(options) $(if $(NUMBER),--number $(NUMBER))

## submissions

.PHONY: upload
upload: .venv/.ready ## upload submission NUMBER= to Kaggle and write down its score
	@$(run) upload $(options) $(if $(NUMBER),--number $(NUMBER))

.PHONY: grade
grade: .venv/.ready ## open the sealed answers (embedded competitions only; FILE= another submission)
	@$(run) grade $(options) $(if $(FILE),--file "$(FILE)")

.PHONY: reproduce
reproduce: $(trains) ## make submission NUMBER= anew and compare its bytes
	@$(run) reproduce $(options) $(if $(NUMBER),--number $(NUMBER)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(CLUSTER),--cluster "$(CLUSTER)")

## more machines

.PHONY: scheduler
scheduler: .venv/.ready-cluster ## start a Dask scheduler, which hands tasks to workers on any machines
	@$(python) -m dask scheduler

.PHONY: worker
worker: .venv/.ready-cluster ## let this machine train for CLUSTER=tcp://host:8786 (JOBS=cores)
	@$(run) worker $(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(JOBS),--jobs $(JOBS))

.PHONY: rehearse
rehearse: $(trains) ## hand out TASKS=200 that sleep ASLEEP=1s: what a cluster's driver can serve
	@$(python) -m benchmarks rehearse $(options) $(if $(FOLDS),--folds $(FOLDS)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(TASKS),--tasks $(TASKS)) $(if $(ASLEEP),--asleep $(ASLEEP))

## measure

.PHONY: bench
bench: .venv/.ready ## time the networks' training; FULL=1 races recipes too
	@$(python) -m benchmarks bench $(options) $(if $(FULL),--full)

.PHONY: presets
presets: .venv/.ready ## train what tutorials teach on mnist, and hold it against what they claim (hours)
	@$(python) -m benchmarks presets $(if $(JOBS),--jobs $(JOBS))

## develop

.PHONY: test
test: .venv/.ready-dev ## run the tests
	@$(python) -m pytest

.PHONY: test-all
test-all: .venv/.ready-dev ## run the tests, the slow ones too
	@$(python) -m pytest -m "slow or not slow"

.PHONY: lint
lint: .venv/.ready-dev ## check style, types and spelling
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@$(python) -m codespell_lib *.md docs folds/README.md submissions/README.md benchmarks competition tests Makefile requirements*.txt

.PHONY: format
format: .venv/.ready-dev ## mend the style
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

.PHONY: clean
clean: ## remove the environment and caches; data, folds and submissions stay
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find benchmarks competition tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements.txt
	@for candidate in python3.13 python3.12 python3.11 python3 python; do \
		if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			found=$$candidate; \
			if $$found -c 'import venv, ensurepip' 2>/dev/null; then whole=yes; break; fi; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "error: no Python 3.11, 3.12 or 3.13 was found; install one, such as: apt install python3 python3-venv" >&2; exit 2; \
	fi; \
	if [ -z "$$whole" ]; then \
		echo "error: $$found lacks its venv package; install it, such as: apt install $$($$found -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 2; \
	fi; \
	echo "setting up .venv with $$($$found --version) ..."; \
	$$found -m venv --clear .venv
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.ready-%: .venv/.ready requirements-%.txt
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements-$*.txt
	@touch $@
