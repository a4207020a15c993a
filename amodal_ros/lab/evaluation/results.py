"""From records to the figures that tables and JSON files show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from amodal_ros.lab.evaluation.metrics import Record, summarise
from amodal_ros.scene import Source

OURS = "ours"


def result(
    settings: Mapping[str, Any], records: Sequence[Record], skipped: Sequence[str] = (), ours: str = OURS
) -> dict[str, Any]:
    """The figures of one run, ready for JSON.

    Args:
        settings: the run's (`runs.RunFolder`): with ``protocol`` and ``methods`` (name -> ``sees_neighbours``,
            ``settings``).
        records: its objects.
        skipped: messages about data that was left out.
        ours: which method is ours; variants of an ablation have their own names.

    Returns:
        ``n``; ``bins``: per occlusion bin ``n``, ``sources``, each method's mean IoU under its name, ``interval`` (95 %
        of ours), ``intervals``, ``pooled`` and ``frame_mean`` by method, ``differences`` (ours minus each other
        method: ``mean``, ``interval``); ``inferred_share``: share of the objects that the model answered;
        ``answers``: objects by source; ``seconds_per_object`` of ours; ``settings``; ``protocol``; ``skipped``.

    Raises:
        ValueError: no object was evaluated.
    """
    if not records:
        raise ValueError("no object was evaluated: none matches the selection" + _first(skipped))
    records = sorted(records, key=lambda r: r.key)  # a merged or continued run gives the same floats
    baselines = [m for m in settings["methods"] if not settings["methods"][m].get("ours")]
    has_ours = ours in settings["methods"]
    names = [*baselines, ours] if has_ours else baselines
    answers = Counter(r.answers[ours] for r in records if ours in r.answers)
    return {
        "dataset": settings["dataset"],
        "protocol": settings["protocol"],
        "n": len(records),
        "bins": {
            name: _flat(bin_, ours if has_ours else None)
            for name, bin_ in summarise(records, names, ours if has_ours else None).items()
        },
        "inferred_share": answers[Source.INFERRED.name] / len(records),
        "answers": dict(answers),
        "seconds_per_object": sum(r.seconds.get(ours, 0.0) for r in records) / len(records),
        "skipped": len(skipped),
        "methods": {OURS if m == ours else m: settings["methods"][m] for m in names},
        "settings": dict(settings),
    }


def _flat(bin_: Mapping[str, Any], ours: str | None) -> dict[str, Any]:
    def renamed(method: str) -> str:
        return OURS if method == ours else method

    figures = {renamed(m): f for m, f in bin_["methods"].items()}
    flat = {"n": bin_["n"], "sources": bin_["sources"], **{m: f["mean"] for m, f in figures.items()}}
    if ours:
        flat["interval"] = figures[OURS]["interval"]
        flat["differences"] = bin_["differences"]
    flat["intervals"] = {m: f["interval"] for m, f in figures.items()}
    flat["pooled"] = {m: f["pooled"] for m, f in figures.items()}
    flat["frame_mean"] = {m: f["frame_mean"] for m, f in figures.items()}
    return flat


def _first(skipped: Sequence[str]) -> str:
    return f" ({len(skipped)} bad items skipped, the first: {skipped[0]})" if skipped else ""
