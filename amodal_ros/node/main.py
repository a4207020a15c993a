"""The node's executable."""

from __future__ import annotations

import sys

from amodal_ros.node.signals import Watch


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end. Returns 0, or 2 if a parameter's value cannot be used."""
    watch = Watch()  # before the imports, which take a second
    from amodal_ros.node.process import run

    return run(args, watch)


if __name__ == "__main__":
    sys.exit(main())
