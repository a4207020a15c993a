# make build: environment and package   make test: lint, types and tests   make demo: the node on a synthetic street
# With a sourced ROS 2 that one is used; otherwise ROS 2 comes as wheels into .venv. PYTHON=python3.x chooses for wheels.

SOURCES := CMakeLists.txt package.xml \
  $(shell find amodal_ros msg launch config include scripts -type f -not -name '*.pyc')
THREADS := OMP_NUM_THREADS=1

.PHONY: build lint test demo clean
build: .venv/.built

# Where ROS 2 comes from. When it is another than .venv was made for, .venv is made anew.
SOURCED := $(filter-out $(CURDIR)/.venv,$(subst :, ,$(AMENT_PREFIX_PATH)))
ROS := $(or $(and $(SOURCED),$(ROS_DISTRO)),wheels)
ifneq ($(ROS),$(shell cat .venv/.ros 2>/dev/null))
.PHONY: .venv/.ros
endif
.venv/.ros: scripts/prepare $(wildcard requirements/*.txt)
	scripts/prepare $(ROS)

# Installed into the virtual environment. Symbolic links: an edited Python file counts at once, a new or removed one
# needs this build, which takes seconds.
.venv/.built: .venv/.ros $(SOURCES)
	./env colcon --log-base build/log build --paths . --merge-install --install-base .venv --symlink-install \
	  --cmake-args -G Ninja -DPython3_EXECUTABLE=$(CURDIR)/.venv/bin/python -DBUILD_TESTING=OFF
	touch $@

lint: build
	./env ruff check .
	./env ruff format --check .
	./env mypy

test: lint
	$(THREADS) ./env pytest

demo: build
	cd build && $(THREADS) ../env python -m amodal_ros.bags.demo --out $(CURDIR)/demo

clean:
	rm -rf .venv build demo
