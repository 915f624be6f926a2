# Two commands for newcomers: `make demo` and `make test`. Everything they need is installed into .venv from the lock files.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
RUN := .venv/bin

.PHONY: help install demo test check corpus format bench bench-engine bench-cold lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.installed ## make .venv with the command .venv/bin/signoff

demo: .venv/.installed ## start service, engine, mailbox and the example workflow
	@$(RUN)/signoff demo

test: .venv/.developed ## run the whole suite (installs what it needs, chromium too where it may)
	@tools/browser.sh
	@$(MAKE) --no-print-directory .venv-aws/.installed
	$(RUN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: .venv/.developed ## what a change must pass: lint, format, types, layers
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

CORPUS ?= ../shared/corpus
corpus: .venv/.developed ## replay executions recorded from AWS (CORPUS=their folder), if they are there
	@$(RUN)/python -m tests.corpus $(CORPUS) $(if $(ALONE),--alone)

format: .venv/.developed ## put the code into its form
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: .venv/.developed ## measure the product against a bare FastAPI route, in one run
	$(RUN)/python -m bench

bench-engine: .venv/.developed ## measure the engine beside moto's server, in one run
	$(RUN)/python -m bench.engine

bench-cold: .venv/.developed ## measure cold starts on Lambda beside a bare boto3 handler
	$(RUN)/python -m bench.cold

# `sam build` calls these with the directory to fill; the functions of the JSON API share a package.
build-ClickFunction: | $(RUN)/python
	$(RUN)/python -m tools.lambda_package click "$(ARTIFACTS_DIR)"

build-ApiFunction build-RespondFunction build-SignoffFunction build-SweepFunction: | $(RUN)/python
	$(RUN)/python -m tools.lambda_package api "$(ARTIFACTS_DIR)"

lock: ## pin the newest allowed versions, with hashes
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate -q -U \
		pyproject.toml --group build -o locks/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate -q -U \
		pyproject.toml --group build --group dev -c locks/run.txt -o locks/dev.txt
	for package in click api; do \
		uv pip compile --python-version 3.11 --python-platform x86_64-manylinux2014 --generate-hashes --no-emit-index-url \
			--no-annotate -q --group lambda-$$package -c locks/run.txt -o locks/lambda-$$package.txt || exit 1; done
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate -q -U \
		--group aws -o locks/aws.txt

clean: ## remove .venv and caches; the data directory stays
	rm -rf .venv .venv-aws .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(RUN)/python:
	@$(MAKE) --no-print-directory .venv/.installed

.venv-aws/.installed: locks/aws.txt | $(RUN)/python
	@tools/aws_tools.sh

.venv/.installed: locks/run.txt pyproject.toml
	@tools/venv.sh "$(PYTHON)" locks/run.txt
	@touch $@

.venv/.developed: locks/dev.txt pyproject.toml
	@tools/venv.sh "$(PYTHON)" locks/dev.txt
	@touch $@ .venv/.installed
