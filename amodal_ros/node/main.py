"""The package's executables."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

from amodal_ros.errors import remedy
from amodal_ros.node.program import AMODAL_NODE, AMODAL_OBSTACLES, AMODAL_SEGMENTER, Program
from amodal_ros.node.signals import Watch
from amodal_ros.stream.collector import paused


def main(args: list[str] | None = None) -> int:
    """Run `amodal_node`: see `run`."""
    return run(AMODAL_NODE, args)


def obstacles(args: list[str] | None = None) -> int:
    """Run `amodal_obstacles`: see `run`."""
    return run(AMODAL_OBSTACLES, args)


def segmenter(args: list[str] | None = None) -> int:
    """Run `amodal_segmenter`: see `run`."""
    return run(AMODAL_SEGMENTER, args)


def run(program: Program, args: list[str] | None = None) -> int:
    """Run a node until it is told to end. Returns 0, 1 without ROS, or 2 if a parameter's value cannot be used."""
    given = sys.argv[1:] if args is None else args
    if not {"-h", "--help"}.isdisjoint(given):
        from amodal_ros.node.arguments import parse

        parse(given, program)  # it answers and exits, also where there is no ROS
    watch = Watch()  # before the imports, which take a second
    _few_arenas()
    try:
        from amodal_ros.node.fastdds import large_images

        os.environ.update(large_images())  # however the node is started: a camera's images arrive
        with paused():
            from amodal_ros.node import process
    except ImportError as error:
        print(f"{program.name}: {remedy(error) or error}", file=sys.stderr)
        return 1
    return process.run(program, args, watch)


def _few_arenas() -> None:
    """Have glibc serve all threads from two heaps: of eight per core each keeps some of what every activation left."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


if __name__ == "__main__":
    sys.exit(main())
