# make          the same as make run
# make run      set up .venv, run the suite named in config/config.yaml, build the report, print the results
# make test     set up .venv, run the tests, as many at a time as there are cores
# make setup    only set up .venv
# make docs     build the documentation from these pages and the docstrings, into docs/_build/html
# make lint     the checks CI runs besides the tests
# make attacks  damage files, kill jobs, fill disks: each many times; a few hours
# make gpu      on a machine with an NVIDIA GPU: tests, benchmark and a training to the end, into results/gpu
# make clean    delete .venv; results stay
# make help     print this text
#
# make run SUITE=fsdd DATA_ROOT=/data    another suite, data from elsewhere
# EXTRAS=dev,equality also installs Hugging Face transformers and timm, for the tests that compare with them
# LOCKED=yes installs the exact versions and files of requirements.lock (with the extras dev, docs and equality) and no others
# CONFIG passes other keys of config/config.yaml; ARGS passes options to snakemake or pytest:
# make run CONFIG="train_threads=2" ARGS="--cores 2", make test ARGS="-k packed"

comma := ,
# a word that the shell takes as it is
quote = '$(subst ','\'',$(1))'
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# the first interpreter that is new enough for the pinned versions (Snakemake 9, NumPy 2.4 and pandas 3 need 3.11)
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3, \
	$(shell command -v $(p) >/dev/null && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.ready-docs
# the environment provides snakemake, and the commands that the suite calls (python, elasticast)
# `-m snakemake` and not the program: its first line names the interpreter, which no quotes can protect
SNAKEMAKE := PATH=$(call quote,$(BIN)):"$$PATH" $(call quote,$(BIN)/python) -m snakemake
PIP = $(call quote,$(BIN)/python) -m pip install --quiet --disable-pip-version-check
ARGS ?=
EXTRAS ?= dev
LOCKED ?=
CONFIG ?=
# A key of config/config.yaml, read as YAML. Each is read when it is first used, after the set-up, and once: `eval`
# replaces the variable by its value.
setting = $(shell $(call quote,$(BIN)/python) -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))[sys.argv[2]])' config/config.yaml $(1))
SUITE ?= $(eval SUITE := $$(call setting,suite))$(SUITE)
DATA_ROOT ?= $(eval DATA_ROOT := $$(call setting,data_root))$(DATA_ROOT)
RESULTS ?= $(eval RESULTS := $$(call setting,results))$(RESULTS)
TABLE = $(call quote,paper_figures/$(SUITE)/table1.csv)
SETTINGS = --config $(call quote,suite=$(SUITE)) $(call quote,data_root=$(DATA_ROOT)) $(call quote,results=$(RESULTS)) $(CONFIG)

.PHONY: run test attacks gpu docs lint setup clean help
.DEFAULT_GOAL := run

# the comments at the top of this file
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

setup: $(READY)

# an environment without its interpreter or Snakemake is set up again
ifeq ($(wildcard $(VENV)/bin/snakemake),)
.PHONY: $(READY)
endif
# only pyproject.toml decides what is installed; the package is linked, so that edits need no new set-up
$(READY): pyproject.toml $(if $(LOCKED),requirements.lock)
	@test "$$(uname -sm)" != "Linux x86_64" || df -Pk . | awk 'NR == 2 && $$4 < 13e6 { \
	    print "WARNING: the set-up needs 8 GB and 4 GB or more for downloads; free here, in GB: " $$4 / 1e6 }' >&2
ifneq ($(PYTHON),)
	@test -x $(call quote,$(BIN)/python) || $(PYTHON) -m venv $(VENV)
else
	@echo "no Python >= 3.11 found: fetching one into your home folder with uv"
	python3 -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install --quiet uv
	$(VENV)-uv/bin/uv venv --seed --python 3.11 $(VENV)
endif
ifneq ($(LOCKED),)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
else
	$(PIP) -e '.[$(EXTRAS)]'
endif
	@touch $(READY) $(if $(LOCKED)$(findstring docs,$(EXTRAS)),$(DOCS_READY))

run: $(READY)
	$(SNAKEMAKE) all $(SETTINGS) $(ARGS)
	$(SNAKEMAKE) $(SETTINGS) --report $(call quote,$(RESULTS)/$(SUITE)/report.html) --quiet
	@echo $(call quote,figures  paper_figures/$(SUITE)/*.png$(comma) *.pdf)
	@echo $(call quote,table    paper_figures/$(SUITE)/table1.md$(comma) .csv$(comma) .tex)
	@echo $(call quote,numbers  $(RESULTS)/$(SUITE)/summary/*.csv)
	@echo $(call quote,page     $(RESULTS)/$(SUITE)/index.html)
	@echo $(call quote,report   $(RESULTS)/$(SUITE)/report.html)
	@test ! -f $(TABLE) || $(call quote,$(BIN)/python) -m elasticast headline $(TABLE) --results $(call quote,$(RESULTS)) --activate '. $(VENV)/bin/activate'

test: $(READY)
	PATH=$(call quote,$(BIN)):"$$PATH" $(call quote,$(BIN)/python) -m pytest $(ARGS)

attacks: $(READY)
	PATH="$(BIN):$$PATH" "$(BIN)/python" -m pytest --attacks 1 tests/attacks $(ARGS)

# READY= BIN=... use another environment, such as the one of a cluster's image
GPU_TESTS := tests/unit/models tests/unit/data/test_packing.py tests/unit/benchmarks tests/unit/training
gpu: $(READY)
	@"$(BIN)/python" -c 'import torch; assert torch.cuda.is_available(), "make gpu: torch finds no GPU here"'
	PATH="$(BIN):$$PATH" "$(BIN)/python" -m pytest $(GPU_TESTS) --junitxml "$(RESULTS)/gpu/tests.xml" $(ARGS)
	"$(BIN)/python" -m elasticast bench packing --model base --device cuda --precision bf16 --rounds 5 \
	    --lengths voxceleb --lengths uniform --lengths speech --lengths equal --clips 12 --clips 24 --clips 64 \
	    --row-tokens 2048 --bucket 6 --way packed-graphs --way packed-varlen --way padded-longest --way bucketed \
	    --way rows-2048 --way one-by-one --out "$(RESULTS)/gpu/packing.csv"
	"$(BIN)/python" -m elasticast bench others --model base --device cuda --precision bf16 --rounds 5 --out "$(RESULTS)/gpu/others.csv"
	"$(BIN)/python" -m elasticast bench scaling --model base --device cuda --precision bf16 --out "$(RESULTS)/gpu/scaling.csv"
	$(SNAKEMAKE) fig1 fig4 fig5 table1 --config suite=fsdd_gpu data_root="$(DATA_ROOT)" results="$(RESULTS)/gpu" $(CONFIG)

$(DOCS_READY): $(READY)
	$(PIP) -e '.[docs]'
	@touch $(DOCS_READY)

# A warning, such as a link that leads nowhere, is an error. -E: Sphinx does not know all files that a page is made from.
docs: $(DOCS_READY)
	$(call quote,$(BIN)/python) -m sphinx -b html -c docs -d docs/_build/doctrees -E -W --keep-going -q . docs/_build/html
	@echo docs/_build/html/index.html

lint: $(READY)
	$(call quote,$(BIN)/python) -m ruff check .
	$(call quote,$(BIN)/python) -m ruff format --check .
	$(call quote,$(BIN)/python) -m snakefmt.snakefmt --check Snakefile workflow
	$(SNAKEMAKE) --lint --config custom=false

clean:
	rm -rf $(VENV) $(VENV)-uv
