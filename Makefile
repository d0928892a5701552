# Everything runs in .venv, which the first command makes: tools/setup-venv says how.
.DEFAULT_GOAL := help
SHELL := /bin/bash
python := .venv/bin/python

.PHONY: help setup demo test check bench stage wheel refresh screenshots tutorial panel-times clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' Makefile

setup: ## make .venv; nothing happens while it is up to date
	@tools/setup-venv

demo: setup ## run the methods on sample data; one HTML page and the volumes in demo-output
	$(python) -m ContrastSynthLib.demo --out demo-output

test: check ## lint, types and all tests
	$(python) -m pytest --numprocesses 2 --dist loadfile

check: setup ## lint and types only
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	$(python) -m mypy
	$(python) -m mypy --config-file tools/mypy-panel.ini

bench: setup ## measured ratios, each against a reference in the same run
	$(python) Testing/bench/run.py

stage: setup ## the extension as Slicer would package it, in build/stage
	@$(python) tools/refresh.py --check
	rm -rf build/stage build/stage-build
	.venv/bin/cmake -S . -B build/stage-build --log-level=WARNING \
		--toolchain Testing/cmake/no-compiler.cmake -D "Slicer_DIR=$(CURDIR)/Testing/cmake"
	.venv/bin/cmake --build build/stage-build
	.venv/bin/cmake --install build/stage-build --prefix build/stage

wheel: setup ## a wheel in dist
	$(python) -m hatchling build -t wheel -d dist

refresh: setup ## after a new file or method: lists of packaged files, table of methods
	$(python) tools/refresh.py

screenshots: setup ## pictures of the panel's tabs, as its test host draws them, in screenshots-output
	QT_QPA_PLATFORM=offscreen CONTRASTSYNTH_SCREENSHOTS=screenshots-output $(python) -m pytest -q --slow Testing/panel/test_pictures.py

tutorial: setup ## go through the tutorials in the panel's test host, and draw their pictures anew
	QT_QPA_PLATFORM=offscreen CONTRASTSYNTH_TUTORIAL=docs/pictures/tutorial $(python) -m pytest -q Testing/panel/test_tutorial.py Testing/panel/test_study_walk.py

panel-times: setup ## how long each action keeps Slicer's thread busy, as a table
	$(python) Testing/bench/panel_times.py

clean: ## remove what the commands made, .venv included
	rm -rf .venv build dist demo-output bench-output screenshots-output .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
