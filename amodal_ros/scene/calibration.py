"""Constants that were measured, not chosen: ``python -m training.calibrate`` writes them into `calibration.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("calibration.json")


@cache
def weights(name: str, signs: tuple[str, ...]) -> tuple[float, ...]:
    """The weights of a logistic regression, in the order of its signs.

    Raises:
        ValueError: the file knows other signs.
    """
    known = _read()[name]
    if set(known) != set(signs):
        raise ValueError(f"{FILE.name}: {name} expects {', '.join(signs)}; got {', '.join(known)}")
    return tuple(known[sign] for sign in signs)


def forget() -> None:
    """Reads the file again when it is next asked for."""
    for cached in (weights, _read):
        cached.cache_clear()


@cache
def _read() -> dict[str, dict[str, float]]:
    return json.loads(FILE.read_text())


def logit(share: float) -> float:
    """The inverse of `sigmoid`, for shares in [0, 1]; bounded, so that certainty stays a number."""
    share = min(1.0 - 1e-3, max(1e-3, share))
    return float(np.log(share / (1.0 - share)))


def log_odds(signs: Sequence[float], weights: Sequence[float]) -> float:
    """What a regression says of one object: a few numbers, for which arrays would be slow."""
    return sum(sign * weight for sign, weight in zip(signs, weights, strict=True))


def probability(log_odds: float) -> float:
    """`sigmoid` of one number."""
    return 1.0 / (1.0 + math.exp(-min(30.0, max(-30.0, log_odds))))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))
