# The commands of the README. Every target sets up what it needs; running one twice is harmless.
SHELL := /bin/bash
PYTHON_BIN := .venv/bin/python
FAST := not slow and not spark and not tex and not airflow and not browser and not e2e and not gpu
export TOKENIZERS_PARALLELISM := false
unexport PYTHONDONTWRITEBYTECODE  # without bytecode every process of ours starts half a second later

.PHONY: setup test quick lint soak docs lock bench sample screenshots demo start stop status backfill

setup:
	@tools/setup.sh

test: setup
	@tools/setup_tests.sh
	$(PYTHON_BIN) -m pytest -m "not gpu" $(ARGS)

quick: setup
	$(PYTHON_BIN) -m pytest -m "$(FAST)" $(ARGS)

soak: setup
	@tools/setup_tests.sh
	SPARK_ARXIV_SOAK=1 $(PYTHON_BIN) -m pytest -m "not gpu" $(ARGS)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PYTHON_BIN) -m tools.make_docs --check

docs: setup
	$(PYTHON_BIN) -m tools.make_docs

lock: setup
	tools/lock.sh

bench: setup
	$(PYTHON_BIN) -m benchmarks.run $(ARGS)

sample: setup
	@tools/setup_tests.sh
	$(PYTHON_BIN) sample/build.py

# Of the stack that `make demo` left running.
screenshots: setup
	$(PYTHON_BIN) -m tools.screenshots

# Variables of the command line are settings (METADATA=x is --metadata x). Only their names are passed: make exports
# the values, so no shell reads them.
GIVEN = $(strip $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name))))

demo start stop backfill: setup
	@$(PYTHON_BIN) -m local $@ $(GIVEN)

status: setup  # 3 is "stopped", which is no error
	@$(PYTHON_BIN) -m local status $(GIVEN) || [ $$? -eq 3 ]

.PHONY: up down
up:
	@docker compose version >/dev/null || { echo "make up needs Docker with its compose plugin, 2.24 or newer." >&2; exit 64; }
	@python3 docker/make_env.py
	docker compose up --detach --build
	@docker compose ps

# Every profile's services, whatever COMPOSE_PROFILES says now; volumes stay.
down:
	COMPOSE_PROFILES=cpu,gpu,cluster docker compose down
