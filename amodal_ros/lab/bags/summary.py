"""What a replayed run says: figures as a dictionary with stable keys, a table for people, and what is not sane.

`docs/bags.md` describes the keys of ``summary.json``.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from amodal_ros.lab.bags.files import BagReader
from amodal_ros.lab.bags.make import TRUTH_TOPIC
from amodal_ros.lab.bags.score import score, score_table
from amodal_ros.lab.bags.typed import answers_of
from amodal_ros.messages import age, nanoseconds
from amodal_ros.scene import Source
from amodal_ros.stream.frames import cut_instances
from amodal_ros.stream.images import labels_of

FORMAT = 1  #: goes up when a key of summary.json goes or changes its meaning
SANE_IOU = 0.5  #: a lower mean IoU with the truth is no poor answer but a fault
OCCLUSION_EDGES = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)
ANY = 2**31  # objects
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Run:
    """A replayed run: the bag that was played, the bag that was recorded, and their topics.

    Attributes:
        image, labels: what the node was fed with.
        camera: a topic that is published right after image and label map; its arrival starts the latency. None if the
            bag has none.
        answers, diagnostics: what the node said.
    """

    played: Path
    recorded: Path
    image: str
    labels: str
    camera: str | None
    answers: str
    diagnostics: str

    @cached_property
    def arrays(self) -> dict[int, Any]:
        """AmodalInstanceArray by the stamp of its image (ns); masks stay packed."""
        return {nanoseconds(message.header.stamp): message for _, message in _messages(self.recorded, self.answers)}

    @cached_property
    def arrivals(self) -> dict[int, int]:
        """When image and label map were out (ns, wall time), by stamp; empty if the bag has no camera info."""
        if self.camera is None:
            return {}
        return {nanoseconds(m.header.stamp): time for time, m in _messages(self.recorded, self.camera)}

    @cached_property
    def latencies(self) -> np.ndarray:
        """Seconds from image and label map being out to the answer's arrival, both seen by one subscriber."""
        began = self.arrivals
        ended = ((nanoseconds(m.header.stamp), time) for time, m in _messages(self.recorded, self.answers))
        return np.array([(time - began[stamp]) * 1e-9 for stamp, time in ended if stamp in began])

    @cached_property
    def counters(self) -> dict[str, dict[str, str]]:
        """The node's last figures by status: ``inputs``, ``answers`` and ``model``."""
        last: dict[str, dict[str, str]] = {}
        for _, message in _messages(self.recorded, self.diagnostics):
            for status in message.status:
                last[status.name.rpartition(": ")[2]] = {pair.key: pair.value for pair in status.values}
        return last


def summarise(run: Run) -> dict[str, Any]:
    """All figures of a run; see `docs/bags.md`.

    Raises:
        BagError: a bag cannot be read.
    """
    with BagReader(run.played) as bag:
        played, seconds, has_truth = bag.counts[run.image], bag.duration, TRUTH_TOPIC in bag.topics
    counters = run.counters.get("answers", {})
    dropped = {key.removeprefix("dropped."): int(n) for key, n in counters.items() if key.startswith("dropped.")}
    entries = [entry for array in run.arrays.values() for entry in array.instances]
    summary: dict[str, Any] = {
        "format": FORMAT,
        "machine": _machine(),
        "model": run.counters.get("model", {}),
        "input": {
            "bag": str(run.played.resolve()),
            "image": run.image,
            "instance_mask": run.labels,
            "frames": played,
            "seconds": seconds,
            **_size(run),
        },
        "replay": _replay(run.arrivals),
        "frames": {
            "played": played,
            "received": int(counters.get("received", 0)),
            "answered": int(counters.get("answered", 0)),
            "dropped": dropped,
            "recorded": len(run.arrays),
        },
        "objects": {
            "answered": len(entries),
            "tracks": len({entry.id for entry in entries}),
            "sources": dict(sorted(Counter(Source(entry.source).name for entry in entries).items())),
        },
        "occlusion": _occlusion(np.array([entry.occlusion_ratio for entry in entries])),
        "age_ms": _percentiles(np.array(list(_ages(run)))),
        "completions": _completions(run.counters.get("model", {})),
        "latency_ms": _percentiles(run.latencies),
        "stages_ms": _stages(counters),
        "accuracy": score(run.recorded, run.played, run.answers) if has_truth and entries else None,
    }
    summary["problems"] = list(_problems(run, summary))
    return summary


def table(summary: dict[str, Any]) -> str:
    """The figures of `summarise` as lines for people."""
    frames, objects, given, machine = (summary[key] for key in ("frames", "objects", "input", "machine"))
    dropped = ", ".join(f"{n} {reason}" for reason, n in frames["dropped"].items()) or "none"
    sources = ", ".join(f"{n} {name}" for name, n in objects["sources"].items()) or "none"
    bins = ", ".join(f"{n} {name}" for name, n in summary["occlusion"]["bins"].items())
    stages = ", ".join(f"{stage} {ms['p50']:.1f} / {ms['p95']:.1f}" for stage, ms in summary["stages_ms"].items())
    rows: dict[str, str] = {
        "input": f"{given['frames']} frames of {given['width']}x{given['height']} in {given['seconds']:.1f} s",
        "model": _model_text(summary["model"]),
        "machine": f"{machine['cpu']}, {machine['cores']} cores, ROS 2 {machine['ros']}, Python {machine['python']}",
        "received": f"{frames['received']} of {frames['played']} played",
        "answered": f"{frames['answered']} ({frames['recorded']} recorded)",
        "dropped": dropped,
        "objects": f"{objects['answered']} of {objects['tracks']} tracks: {sources}",
        "occlusion": bins,
        "shapes' age": _times_text(summary["age_ms"]),
        "completions": _completions_text(summary["completions"]),
        "end to end": _times_text(summary["latency_ms"])
        if summary["latency_ms"]
        else "not measured: the bag has no /camera/camera_info",
        "in the node": f"{stages} ms (p50 / p95)" if stages else "unknown",
    }
    lines = [f"{name:12} {value}" for name, value in rows.items()]
    if summary["accuracy"] is not None:
        lines += ["", score_table(summary["accuracy"])]
    return "\n".join(lines)


def _problems(run: Run, summary: dict[str, Any]) -> Iterator[str]:
    """What cannot be if node and graph work."""
    frames, accuracy = summary["frames"], summary["accuracy"]
    if not run.arrays:
        yield "no answer came"
    if frames["received"] != frames["answered"] + sum(frames["dropped"].values()):
        yield f"images received are not those answered and dropped: {frames}"
    if frames["recorded"] != frames["answered"]:
        yield f"{frames['answered']} images were answered, but {frames['recorded']} answers arrived"
    yield from _wrong_answers(run)
    if accuracy is not None:
        mean = accuracy["bins"]["all"]["methods"]["answer"]["mean"]
        if mean < SANE_IOU:
            yield f"mean IoU with the truth is {mean:.3f}, expected at least {SANE_IOU}"


def _wrong_answers(run: Run) -> Iterator[str]:
    """Answers that contradict their own label map or themselves; the first few."""
    found = 0
    for _, message in _messages(run.played, run.labels):
        array = run.arrays.get(nanoseconds(message.header.stamp))
        if array is None or found > 3:
            continue
        labelled = {instance.id: instance.visible for instance in cut_instances(labels_of(message), max_objects=ANY)}
        for answer in answers_of(array):
            done, wrong = answer.completion, None
            if labelled.get(answer.instance.id) != done.visible:
                wrong = "its visible mask is not the label map's"
            elif not done.amodal.contains(done.visible):
                wrong = "its amodal mask lacks visible pixels"
            if wrong:
                found += 1
                yield f"stamp {nanoseconds(array.header.stamp)}, object {answer.instance.id}: {wrong}"


def _messages(bag: Path, topic: str) -> Iterator[tuple[int, Any]]:
    """(time of recording in ns, message)."""
    with BagReader(bag) as reader:
        for record in reader.records([topic]):
            yield record.time, record.message()


def _size(run: Run) -> dict[str, int]:
    _, message = next(_messages(run.played, run.labels))
    height, width = labels_of(message).shape
    return {"width": width, "height": height}


def _replay(arrivals: dict[int, int]) -> dict[str, float] | None:
    """How true to the recording the replay was: the steps between frames, as they arrived, against the stamps'."""
    if len(arrivals) < 2:
        return None
    stamps, times = np.array(sorted(arrivals.items()), np.int64).T
    drift = (times - times[0]) - (stamps - stamps[0])
    return {"seconds": float(times[-1] - times[0]) * 1e-9, "latest_ms": float(drift.max()) * 1e-6}


def _occlusion(ratios: np.ndarray) -> dict[str, Any]:
    bins = {"none": int((ratios <= 0).sum())}
    for low, high in pairwise(OCCLUSION_EDGES):
        bins[f"({low:g}, {high:g}]"] = int(((ratios > low) & (ratios <= high)).sum())
    hidden = ratios[ratios > 0]
    return {"mean_of_occluded": float(hidden.mean()) if hidden.size else 0.0, "bins": bins}


def _percentiles(seconds: np.ndarray) -> dict[str, float] | None:
    if not seconds.size:
        return None
    values = {f"p{q}": float(v) for q, v in zip(PERCENTILES, 1e3 * np.percentile(seconds, PERCENTILES))}
    return {**values, "max": float(1e3 * seconds.max()), "n": int(seconds.size)}


def _completions(model: dict[str, str]) -> dict[str, float] | None:
    """What live spent on the model, from its figures on /diagnostics; None if it did not run."""
    if "budget_used" not in model:
        return None
    figures = {"n": "completions", "failed": "completions.failed"}
    rates = {"per_second": "completions_per_second", "budget_used": "budget_used"}
    return {
        **{key: int(model[name]) for key, name in figures.items()},
        **{key: float(model[name]) for key, name in rates.items()},
    }


def _completions_text(completions: dict[str, float] | None) -> str:
    if completions is None:
        return "not live"
    text = "{n}, {per_second:.2f} per second, {budget_used:.0%} of the time used".format(**completions)
    return text + (f", {completions['failed']} failed" if completions["failed"] else "")


def _model_text(model: dict[str, str]) -> str:
    device = model.get("device", "none")
    return model.get("model", "unknown") + (f" on {device}" if device != "none" else ", no network")


def _times_text(times: dict[str, float] | None) -> str:
    if times is None:
        return "none"
    return "p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, most {max:.1f} ms, n = {n}".format(**times)


def _ages(run: Run) -> Iterator[float]:
    """For shapes that the model inferred: seconds between the answered image and the image that they rest on."""
    for array in run.arrays.values():
        for entry in array.instances:
            if entry.source in (Source.INFERRED, Source.PROPAGATED):
                yield age(array, entry)


def _stages(counters: dict[str, str]) -> dict[str, dict[str, float]]:
    """The node's own times per stage, from its keys ``STAGE.p50_ms`` and ``STAGE.p95_ms``."""
    stages: dict[str, dict[str, float]] = {}
    for key, value in counters.items():
        stage, _, figure = key.partition(".")
        if figure in ("p50_ms", "p95_ms"):
            stages.setdefault(stage, {})[figure.removesuffix("_ms")] = float(value)
    return stages


def _machine() -> dict[str, Any]:
    names = (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name"))
    return {
        "cpu": next(names, platform.processor() or platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "ros": os.environ.get("ROS_DISTRO", "unknown"),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
