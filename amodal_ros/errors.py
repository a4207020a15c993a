"""The completion room's two exceptions."""

from __future__ import annotations


class ModelError(ValueError):
    """A model folder, component or weight that cannot be used; the message names it and what was expected."""


class Interrupted(Exception):
    """`should_stop` said yes between two denoising steps.

    Attributes:
        results: what `AmodalPipeline.complete` would have returned; None for every object not reached.
    """

    def __init__(self, results: list | None = None) -> None:
        super().__init__("completion interrupted between two denoising steps")
        self.results = results or []
