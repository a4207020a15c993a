"""What the node tells on /diagnostics: three statuses, each with a sentence for people and figures by stable keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from amodal_ros.node.intake import Count

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
#: A topic or the answers are called silent after this many seconds.
SILENT = 2.0
#: A frame that is worked on for longer than this, and than it may, is a worker that does not answer (seconds).
STUCK = 1.0
#: Drops for these reasons are the price of staying current, not faults.
HARMLESS = frozenset({"skipped", "late", "superseded", "inactive"})


@dataclass(frozen=True)
class Snapshot:
    """The node at one moment.

    Attributes:
        state: lifecycle state, such as ``"active"``.
        counts: by topic, since the node was made; `before` is the same at the last report, `seconds` ago.
        silence: seconds since each open topic's last message.
        newest: each open topic's newest stamp, nanoseconds.
        unpaired: seconds since the last complete pair.
        objects: objects by source in the latest answer.
        staleness: age of the latest answered image in ROS time, seconds; None before the first.
        timings: (median, 95th percentile) seconds per stage.
        answerer: the answerer's own figures.
        busy: seconds since the worker took the frame at hand; `allowed`: seconds that it may take.
        crashes: threads and callbacks that ended unexpectedly since the last report, `failures`: completions that
            failed since then.
        last_crash: what the latest ended with.
    """

    state: str
    counts: Mapping[str, Count]
    before: Mapping[str, Count]
    seconds: float
    silence: Mapping[str, float]
    newest: Mapping[str, int | None]
    unpaired: float
    topics: Mapping[str, str]
    qos_incompatible: Mapping[str, int]
    time_jumps: int
    objects: Mapping[str, int]
    staleness: float | None
    timings: Mapping[str, tuple[float, float]]
    model: str
    device: str
    memory: int
    answerer: Mapping[str, float | int | str]
    busy: float = 0.0
    allowed: float = 0.0
    crashes: int = 0
    failures: int = 0
    last_crash: str = ""


def statuses(name: str, now: Snapshot) -> list[DiagnosticStatus]:
    """The statuses ``inputs``, ``answers`` and ``model`` of the node called `name`."""
    return [_inputs(name, now), _answers(name, now), _model(name, now)]


def _inputs(name: str, now: Snapshot) -> DiagnosticStatus:
    values: dict[str, object] = {}
    for topic, count in now.counts.items():
        values[f"{topic}.topic"] = now.topics[topic]
        values[f"{topic}.hz"] = f"{(count.received - now.before[topic].received) / now.seconds:.2f}"
        values[f"{topic}.received"] = count.received
        values[f"{topic}.waiting"] = count.waiting
        values[f"{topic}.qos_incompatible"] = now.qos_incompatible.get(topic, 0)
        if topic in now.silence:
            values[f"{topic}.silent_s"] = f"{now.silence[topic]:.1f}"
        if topic != "image":
            values[f"{topic}.paired"] = count.used
            values |= {f"{topic}.dropped.{reason}": n for reason, n in sorted(count.dropped.items())}
    values["time_jumps"] = now.time_jumps
    silent = [topic for topic, seconds in now.silence.items() if seconds > SILENT]
    if now.state != "active":
        level, message = OK, now.state
    elif silent:
        level, message = WARN, "; ".join(f"no {t} on {now.topics[t]} for {now.silence[t]:.1f} s" for t in silent)
    elif now.unpaired > SILENT:
        stamps = ", ".join(f"{t} {'none' if s is None else f'{s / 1e9:.9f}'}" for t, s in now.newest.items())
        level, message = WARN, f"stamps never match for {now.unpaired:.1f} s; newest: {stamps}"
    else:
        level, message = OK, "receiving"
    return _status(f"{name}: inputs", level, message, values)


def _answers(name: str, now: Snapshot) -> DiagnosticStatus:
    images, before = now.counts["image"], now.before["image"]
    values: dict[str, object] = {
        "received": images.received,
        "answered": images.used,
        "waiting": images.waiting,
        "dropped": images.dropped.total(),
        **{f"dropped.{reason}": n for reason, n in sorted(images.dropped.items())},
        "answered_hz": f"{(images.used - before.used) / now.seconds:.2f}",
        "objects": sum(now.objects.values()),
        **{f"objects.{source}": n for source, n in sorted(now.objects.items())},
    }
    if now.staleness is not None:
        values["staleness_s"] = f"{now.staleness:.3f}"
    for stage, (median, p95) in now.timings.items():
        values[f"{stage}.p50_ms"], values[f"{stage}.p95_ms"] = f"{1e3 * median:.1f}", f"{1e3 * p95:.1f}"
    faults = {r: n - before.dropped[r] for r, n in images.dropped.items() if r not in HARMLESS}
    faults = {reason: n for reason, n in faults.items() if n}
    if now.crashes:
        level, message = ERROR, f"{now.crashes} unexpected ends, begun again: {now.last_crash}"
    elif now.state != "active":
        level, message = OK, now.state
    elif now.busy > STUCK + now.allowed:
        level, message = WARN, f"no answer for {now.busy:.1f} s: the worker is still at one frame"
    elif faults:
        level, message = WARN, "images dropped: " + ", ".join(f"{n} {reason}" for reason, n in sorted(faults.items()))
    else:
        level, message = OK, f"{images.used - before.used} answers in {now.seconds:.1f} s"
    return _status(f"{name}: answers", level, message, values)


def _model(name: str, now: Snapshot) -> DiagnosticStatus:
    values = {"state": now.state, "model": now.model, "device": now.device, "gpu_memory_mb": f"{now.memory / 1e6:.0f}"}
    level, message = OK, f"{now.model} ({now.state})"
    if now.failures:
        level, message = WARN, f"{now.failures} completions failed: {now.answerer.get('last_error', 'unknown')}"
    return _status(f"{name}: model", level, message, {**values, **now.answerer})


def _status(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=f"{v:.4g}" if isinstance(v, float) else str(v)) for key, v in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id="", values=pairs)
