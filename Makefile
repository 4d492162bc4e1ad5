# The commands that always hold on a fresh machine (Debian 12 or 13, Ubuntu 24.04); details in CONTRIBUTING.md.
JOBS ?= $(shell nproc)
SOURCES = $(shell git ls-files --cached --others --exclude-standard '*.h' '*.cpp')

.PHONY: help build test demo bench full-size wheel deb format lint clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

build:  ## the program build/blip2, and build/tiny, an untrained model to start from
	tools/setup.sh demo
	tools/build.sh blip2

test:  ## set up, build and run every test (unit, parity, integration, hostile files)
	tools/setup.sh test
	tools/build.sh
	ctest --test-dir build --output-on-failure -j $(JOBS)

wheel:  ## the Python package: build/wheel/blip2_native-*.whl
	tools/setup.sh build
	tools/wheel.sh

deb:  ## a Debian package: build/deb/blip2_*.deb
	tools/setup.sh build
	tools/build.sh blip2
	tools/deb.sh

demo:  ## train on real pictures and show the result: build/demo/report.html
	tools/demo.sh

bench:  ## measure against PyTorch and transformers
	tools/setup.sh test
	tools/build.sh blip2 language_bench training_bench vit_bench probe_vision
	tools/bench.sh

full-size:  ## run models of the published ones' full size against transformers: 20 GB of disk, 18 GiB of memory
	tools/setup.sh test
	tools/build.sh probe_published
	.venv/bin/python tests/full_size/check.py

format:  ## lay the C++ sources out with clang-format
	clang-format -i $(SOURCES)

lint:  ## layers, sizes, layout and clang-tidy
	tools/setup.sh build
	tools/lint.sh

clean:  ## remove what was built; downloads and .venv stay
	rm -rf build build-dev build-asan build-tsan
