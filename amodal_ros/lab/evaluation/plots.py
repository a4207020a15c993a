"""Figures from evaluation runs, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from amodal_ros.lab.evaluation.metrics import Record, bootstrap_means, interval, ious

#: Rates are grouped in tenths; a group with fewer objects says nothing.
FEWEST = 5


def bars(results: Sequence[Mapping], bin_name: str, file: Path) -> None:
    """Mean IoU with its 95 % interval, one group of bars per run.

    Args:
        results: what `results.result` makes.
        bin_name: which occlusion bin; runs without objects in it are left out.
        file: the picture, any format that matplotlib knows by its suffix.
    """
    shown = [r for r in results if bin_name in r["bins"]]
    methods = list(dict.fromkeys(m for r in shown for m in r["methods"]))
    figure, axes = plt.subplots(figsize=(2 + 1.6 * len(shown), 3.6), layout="constrained")
    width = 0.8 / max(1, len(methods))
    for k, method in enumerate(methods):
        having = [(x, r["bins"][bin_name]) for x, r in enumerate(shown) if method in r["methods"]]
        places = [x + (k - (len(methods) - 1) / 2) * width for x, _ in having]
        means = np.array([100 * b[method] for _, b in having])
        ends = 100 * np.array([b["intervals"][method] for _, b in having]).reshape(-1, 2)
        reach = np.clip([means - ends[:, 0], ends[:, 1] - means], 0, None)
        axes.bar(places, means, width, yerr=reach, label=method.replace("_", " "), error_kw={"lw": 0.8})
    axes.set_xticks(range(len(shown)), [f"{r['dataset']}\nn = {r['bins'][bin_name]['n']}" for r in shown])
    axes.set_ylabel("mIoU (%)")
    axes.set_title(f"occlusion {bin_name}")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def over_occlusion(title: str, records: Sequence[Record], methods: Sequence[str], file: Path) -> None:
    """Mean IoU against occlusion rate in tenths, with 95 % intervals; unoccluded objects stand at 0."""
    rates = np.array([r.occlusion for r in records])
    tenth = np.where(rates <= 0, 0, np.ceil(rates * 10 - 1e-9)).astype(int)
    values = ious(records, methods)
    sources = np.unique([r.source for r in records], return_inverse=True)[1]
    groups = [t for t in range(11) if np.count_nonzero(tenth == t) >= FEWEST]
    places = [max(0.0, t / 10 - 0.05) for t in groups]
    means = np.array([values[tenth == t].mean(axis=0) for t in groups]).reshape(-1, len(methods))
    draws = [
        bootstrap_means(values[tenth == t], np.unique(sources[tenth == t], return_inverse=True)[1]) for t in groups
    ]
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for k, method in enumerate(methods):
        ends = np.array([interval(d[:, k]) for d in draws]).reshape(-1, 2)
        (line,) = axes.plot(places, 100 * means[:, k], marker="o", ms=3, label=method.replace("_", " "))
        axes.fill_between(places, 100 * ends[:, 0], 100 * ends[:, 1], color=line.get_color(), alpha=0.12, lw=0)
    axes.set_xlabel("occlusion rate (middle of its tenth)")
    axes.set_ylabel("mIoU (%)")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=130)
    plt.close(figure)
