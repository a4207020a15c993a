"""How masks are compared: IoU per object, occlusion bins, bootstrap intervals, paired differences.

An evaluation is a list of `Record`, one per object; each holds intersection and union for every method, so that the
mean over objects, the pooled ratio and the mean over frames all come from the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from amodal_ros.scene.mask import MaskRegion

#: name -> (above, up to); the paper reports (0, 0.5].
BINS: dict[str, tuple[float, float]] = {
    "all": (-1.0, 1.0),
    "unoccluded": (-1.0, 0.0),
    "(0, 0.1]": (0.0, 0.1),
    "(0.1, 0.3]": (0.1, 0.3),
    "(0.3, 0.5]": (0.3, 0.5),
    "(0.5, 0.8]": (0.5, 0.8),
    "(0, 0.5]": (0.0, 0.5),
    "(0, 0.8]": (0.0, 0.8),
}
#: Objects that the frame's edge cuts, where the truth is known outside of it; beside the occlusion bins.
CUT = "cut by the frame"
#: Bootstrap resamples; the interval's own error is then about a tenth of its width.
RESAMPLES = 1000


@dataclass(frozen=True)
class Record:
    """One object's result; a line of ``objects.jsonl``.

    Attributes:
        frame, object: ids in the data set.
        source: what the bootstrap resamples (`datasets.base.DatasetObject.source`).
        occlusion: hidden share of the in-frame amodal mask, in [0, 1].
        overlaps: method -> (intersection, union) in pixels.
        answers: method -> name of `scene.Source`, for methods that answer in several ways.
        seconds: method -> seconds for this object (a batch's time is shared out evenly).
        truncation: share of the amodal mask outside the frame, in [0, 1]; 0 where the truth ends there.
    """

    frame: str
    object: str
    source: str
    class_id: str
    occlusion: float
    overlaps: dict[str, tuple[int, int]]
    answers: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    truncation: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        return self.frame, self.object


def overlap(
    guess: MaskRegion, truth: MaskRegion, frame_shape: tuple[int, int], truth_leaves_frame: bool = False
) -> tuple[int, int]:
    """(intersection, union) in pixels.

    Compared inside the frame, unless the truth is known outside it too.
    """
    if not truth_leaves_frame:
        guess, truth = guess.clip(*frame_shape), truth.clip(*frame_shape)
    both = guess.overlap(truth)
    return both, guess.area + truth.area - both


def ious(records: Sequence[Record], methods: Sequence[str]) -> np.ndarray:
    """float (objects, methods), each in [0, 1]."""
    pairs = np.array([[r.overlaps[m] for m in methods] for r in records], float).reshape(-1, len(methods), 2)
    return pairs[..., 0] / np.maximum(pairs[..., 1], 1)


def summarise(records: Sequence[Record], methods: Sequence[str], reference: str | None = None) -> dict[str, dict]:
    """Every bin that has objects.

    Args:
        records: the objects; all have all `methods`.
        reference: the method whose paired differences to all others are wanted.

    Returns:
        bin name -> ``n`` objects, ``sources``, and under ``methods`` for each method ``mean`` (over objects), its
        95 % ``interval``, ``pooled`` (sum of intersections / sum of unions) and ``frame_mean`` (mean of the frames'
        means); under ``differences`` for each other method ``mean`` and ``interval`` of reference minus method.
    """
    values = ious(records, methods)
    rates = np.array([r.occlusion for r in records])
    groups = {name: (rates > above) & (rates <= up_to) for name, (above, up_to) in BINS.items()}
    groups[CUT] = np.array([r.truncation > 0 for r in records])
    summary = {}
    for name, group in groups.items():
        inside = np.flatnonzero(group)
        if inside.size:
            summary[name] = _summarise_bin([records[int(i)] for i in inside], values[inside], methods, reference)
    return summary


def _summarise_bin(
    records: list[Record], values: np.ndarray, methods: Sequence[str], reference: str | None
) -> dict[str, object]:
    _, source = np.unique([r.source for r in records], return_inverse=True)
    _, frame = np.unique([r.frame for r in records], return_inverse=True)
    ours = list(methods).index(reference) if reference is not None else 0
    gains = values[:, [ours]] - values  # differenced per object first: equal methods differ by exactly 0
    draws = bootstrap_means(np.concatenate([values, gains], axis=1), source)
    means = values.mean(axis=0)
    frame_means = np.stack([np.bincount(frame, column) for column in values.T]) / np.bincount(frame)
    result: dict[str, object] = {"n": len(records), "sources": int(source.max()) + 1}
    result["methods"] = {
        method: {
            "mean": float(means[k]),
            "interval": interval(draws[:, k]),
            "pooled": _pooled(records, method),
            "frame_mean": float(frame_means[k].mean()),
        }
        for k, method in enumerate(methods)
    }
    if reference is not None:
        result["differences"] = {
            method: {"mean": float(gains[:, k].mean()), "interval": interval(draws[:, len(methods) + k])}
            for k, method in enumerate(methods)
            if k != ours
        }
    return result


def bootstrap_means(values: np.ndarray, source: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Means over resampled sources: all cases of a source are drawn together, and all columns with the same draw.

    Args:
        values: float (objects, methods).
        source: int (objects,), each object's source in 0..k-1.

    Returns:
        float (resamples, methods). Deterministic.
    """
    rng = np.random.default_rng(0)
    size = np.bincount(source).astype(float)
    total = np.stack([np.bincount(source, column) for column in values.T], axis=1)
    draws = np.empty((resamples, values.shape[1]))
    for row in draws:  # one resample at a time: half a million objects fit in memory
        times = np.bincount(rng.integers(len(size), size=len(size)), minlength=len(size))
        row[:] = times @ total / (times @ size)
    return draws


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The central 95 % of bootstrap draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def _pooled(records: Sequence[Record], method: str) -> float:
    both, either = np.array([r.overlaps[method] for r in records], float).sum(axis=0)
    return float(both / either) if either else 1.0
