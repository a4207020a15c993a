"""What the nodes tell on /diagnostics: statuses, each with a sentence for people and figures by stable keys."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from amodal_ros.messages import stamp_text
from amodal_ros.node.inputs import Input
from amodal_ros.stream.intake import Count

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
#: A topic or the answers are called silent after this many seconds.
SILENT = 2.0
#: A frame that is worked on for longer than this, and than it may, is a worker that does not answer (seconds).
STUCK = 1.0
#: Lost messages are worth a warning from so many on since the last report, and from this share of all.
MANY = (2, 0.1)
#: Stamps further from now than this are of another clock: a bag is played without use_sim_time (seconds).
SAME_CLOCK = 3600.0
#: Before so many pairs, label maps may be of images from before the node listened.
SETTLED = 10
#: Drops for these reasons are the price of staying current, not faults.
HARMLESS = frozenset({"skipped", "late", "superseded", "inactive"})


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What comes in and goes out at one moment, of any of the package's nodes.

    Attributes:
        main: the topic that is answered; the others are its partners.
        state: lifecycle state, such as ``"active"``.
        counts: by topic, since the node was made; `before` is the same at the last report, `seconds` ago.
        silence: seconds since each open topic's last message.
        newest: each open topic's newest stamp, nanoseconds.
        unpaired: seconds since the last complete pair.
        topics: names as the user gave them; `inputs`, while the node is active, tells what is subscribed to.
        objects: objects in the latest answer, by what they rest on.
        staleness: age of the latest answered image in ROS time, seconds; None before the first.
        timings: (median, 95th percentile) seconds per stage.
        busy: seconds since the worker took the frame at hand; `allowed`: seconds that it may take.
        crashes: threads and callbacks that ended unexpectedly since the last report.
        last_crash: what the latest ended with.
    """

    main: str
    state: str
    counts: Mapping[str, Count]
    before: Mapping[str, Count]
    seconds: float
    silence: Mapping[str, float]
    newest: Mapping[str, int | None]
    unpaired: float
    topics: Mapping[str, str]
    inputs: Mapping[str, Input]
    time_jumps: int
    objects: Mapping[str, int]
    staleness: float | None
    timings: Mapping[str, tuple[float, float]]
    busy: float = 0.0
    allowed: float = 0.0
    crashes: int = 0
    last_crash: str = ""


@dataclass(frozen=True, kw_only=True)
class Snapshot(Traffic):
    """`amodal_node` at one moment.

    Attributes:
        answerer: the answerer's own figures.
        failures: completions that failed since the last report.
    """

    main: str = "image"
    model: str
    device: str
    memory: int
    answerer: Mapping[str, float | int | str]
    failures: int = 0


def statuses(name: str, now: Snapshot, complaints: Mapping[str, str]) -> list[DiagnosticStatus]:
    """The statuses ``inputs``, ``answers`` and ``model`` of the node called `name`.

    Args:
        complaints: from `input_complaints`.
    """
    return [inputs_status(name, now, complaints), answers_status(f"{name}: answers", now, "images"), _model(name, now)]


def input_complaints(now: Snapshot) -> dict[str, str]:
    """What is wrong with the inputs of `amodal_node`, by subject, each with what to do about it."""
    return traffic_complaints(now) or (_orphans(now) if now.state == "active" else {})


def traffic_complaints(now: Traffic) -> dict[str, str]:
    """What is wrong with the inputs of any node, by subject, each with what to do about it."""
    if now.state != "active":
        return {}
    found = {}
    for topic, source in now.inputs.items():
        received, lost = _since(now, topic, "received"), _since(now, topic, "lost")
        silent = now.silence.get(topic, 0.0)
        if _many(lost, lost + received):
            found[f"lost.{topic}"] = (
                f"{lost} of {lost + received} messages on {source.topic} were lost on their way: {source.remedy()}"
            )
        elif silent > SILENT:
            why = source.why_silent(heard=now.counts[topic].received > 0)
            found[f"silent.{topic}"] = f"no {topic} on {source.topic} for {silent:.1f} s: {why}"
    if not found and now.unpaired > SILENT:
        stamps = ", ".join(f"{topic} {stamp_text(stamp)}" for topic, stamp in now.newest.items())
        same = len(set(now.newest.values())) == 1
        what = "do not advance" if same else "never match"
        remedy = "" if same else ". Masks must carry their image's stamp; else set pair_slop"
        found["unpaired"] = f"stamps {what} for {now.unpaired:.1f} s; newest: {stamps}{remedy}"
    return found


def _orphans(now: Snapshot) -> dict[str, str]:
    """Label maps without an image: a segmenter had it, so it was lost on its way here. Not every middleware tells."""
    found = {}
    for topic in now.inputs.keys() - {"image"}:
        received, before = _since(now, topic, "received"), now.before[topic]
        alone = sum(now.counts[topic].dropped[r] - before.dropped[r] for r in ("skipped", "unpaired"))
        if before.used > SETTLED and _many(alone, received):
            found[f"alone.{topic}"] = (
                f"{alone} of {received} messages on {now.inputs[topic].topic} found no image of their stamp: "
                f"is {now.inputs['image'].topic} what the segmenter sees, and not thinned out? If so, images were lost "
                f"on their way: {now.inputs['image'].remedy()}"
            )
    return found


def _since(now: Traffic, topic: str, figure: str) -> int:
    """By how much a count has grown since the last report."""
    return getattr(now.counts[topic], figure) - getattr(now.before[topic], figure)


def _many(part: int, whole: int) -> bool:
    return part >= MANY[0] and part >= MANY[1] * whole


def inputs_status(name: str, now: Traffic, complaints: Mapping[str, str]) -> DiagnosticStatus:
    """The status ``inputs`` of the node called `name`."""
    values: dict[str, object] = {}
    for topic, count in now.counts.items():
        source = now.inputs.get(topic)
        values[f"{topic}.topic"] = source.topic if source else now.topics[topic]
        values[f"{topic}.hz"] = f"{_since(now, topic, 'received') / now.seconds:.2f}"
        values[f"{topic}.received"] = count.received
        values[f"{topic}.lost"] = count.lost
        values[f"{topic}.waiting"] = count.waiting
        values[f"{topic}.qos_incompatible"] = source.incompatible if source else 0
        if topic in now.silence:
            values[f"{topic}.silent_s"] = f"{now.silence[topic]:.1f}"
        if topic != now.main:
            values[f"{topic}.paired"] = count.used
            values |= {f"{topic}.dropped.{reason}": n for reason, n in sorted(count.dropped.items())}
            values |= {f"{topic}.flaws.{reason}": n for reason, n in sorted(count.flaws.items())}
    values["time_jumps"] = now.time_jumps
    message = "; ".join(complaints.values()) or ("receiving" if now.state == "active" else now.state)
    return status(f"{name}: inputs", WARN if complaints else OK, message, values)


def answers_status(
    name: str, now: Traffic, what: str, more: Mapping[str, object] | None = None, trouble: str = ""
) -> DiagnosticStatus:
    """The status `name`: what became of the main topic's messages.

    Args:
        what: they are called, in the plural.
        more: figures of the node's own.
        trouble: something worth a warning where nothing is worse.
    """
    images, before = now.counts[now.main], now.before[now.main]
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
        other_clock = not -SAME_CLOCK < now.staleness < SAME_CLOCK
        values["staleness_s"] = "unknown: stamps are of another clock" if other_clock else f"{now.staleness:.3f}"
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
        level, message = WARN, f"{what} dropped: " + ", ".join(f"{n} {reason}" for reason, n in sorted(faults.items()))
    elif trouble:
        level, message = WARN, trouble
    else:
        level, message = OK, f"{images.used - before.used} answers in {now.seconds:.1f} s"
    return status(name, level, message, {**values, **(more or {})})


def _model(name: str, now: Snapshot) -> DiagnosticStatus:
    values = {"state": now.state, "model": now.model, "device": now.device, "gpu_memory_mb": f"{now.memory / 1e6:.0f}"}
    level, message = OK, f"{now.model} ({now.state})"
    if now.failures:
        level, message = WARN, f"{now.failures} completions failed: {now.answerer.get('last_error', 'unknown')}"
    return status(f"{name}: model", level, message, {**values, **now.answerer})


def status(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One status with its figures."""
    pairs = [KeyValue(key=key, value=f"{v:.4g}" if isinstance(v, float) else str(v)) for key, v in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=socket.gethostname(), values=pairs)
