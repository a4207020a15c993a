"""The node's executable."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

from amodal_ros.node.signals import Watch


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end. Returns 0, or 2 if a parameter's value cannot be used."""
    watch = Watch()  # before the imports, which take a second
    _few_arenas()
    from amodal_ros.node.fastdds import large_images

    os.environ.update(large_images())  # however the node is started: a camera's images arrive
    from amodal_ros.node.process import run

    return run(args, watch)


def _few_arenas() -> None:
    """Have glibc serve all threads from two heaps: of eight per core each keeps some of what every activation left."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


if __name__ == "__main__":
    sys.exit(main())
