"""How good recorded answers are: matched with recorded truth by header stamp and id, beside three baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amodal_ros.lab.bags.files import BagError, BagReader
from amodal_ros.lab.bags.make import TRUTH_TOPIC
from amodal_ros.lab.bags.typed import INSTANCES, answers_of
from amodal_ros.lab.evaluation.metrics import BINS, Record, overlap, summarise
from amodal_ros.messages import nanoseconds
from amodal_ros.scene import Answer, Scene, convex_hull

#: The node's answer, the visible mask, its convex hull, and the hull cut to where neighbours can hide something.
METHODS = ("answer", "modal", "hull", "bounded_hull")


def score(bag: Path | str, truth_bag: Path | str | None = None, topic: str | None = None) -> dict[str, Any]:
    """Compare the answers in one bag with the truth in the same or another bag.

    Args:
        bag: holds AmodalInstanceArray answers.
        truth_bag: holds `make.TRUTH_TOPIC`; None when `bag` does.
        topic: the answers' topic; None when `bag` holds only one.

    Returns:
        ``topic`` and ``model`` of the answers; ``frames`` and ``objects`` with their counts; ``beyond_frame``, whether
        masks were compared outside the frame too (they are when any truth leaves it); ``bins``, mIoU of `METHODS` per
        occlusion bin as `evaluation.metrics.summarise` gives it; ``sources``, the same over all objects of one source.

    Raises:
        BagError: a bag cannot be read, there are no answers or no truth, or none of them match.
    """
    answers, topic = _answers(bag, topic)
    truth = _arrays(truth_bag or bag, TRUTH_TOPIC)
    if not truth:
        raise BagError(f"{truth_bag or bag}: no truth; expected messages on {TRUTH_TOPIC}")
    answered = sorted(truth.keys() & answers.keys())
    if not answered:
        raise BagError(
            f"no answer has the stamp of a truth: {len(answers)} answers from {_span(answers)} ns, "
            f"{len(truth)} truths from {_span(truth)} ns"
        )
    beyond_frame = any(entry.truncation_ratio > 0 for array in truth.values() for entry in array.instances)
    records = [
        record
        for stamp in answered
        for record in _compare(stamp, answers_of(answers[stamp]), answers_of(truth[stamp]), beyond_frame)
    ]
    if not records:
        raise BagError(f"no object to compare: in {len(answered)} answered frames no id of the truth was answered")
    return {
        "topic": topic,
        "model": answers[answered[0]].model,
        "frames": {"truth": len(truth), "answered": len(answered)},
        "objects": {
            "truth": sum(len(array.instances) for array in truth.values()),
            "in_answered_frames": sum(len(truth[stamp].instances) for stamp in answered),
            "matched": len(records),
        },
        "beyond_frame": beyond_frame,
        "bins": summarise(records, METHODS, reference="answer"),
        "sources": _by_source(records),
    }


def score_table(result: dict[str, Any]) -> str:
    """The figures of `score` as lines for people."""
    frames, objects = result["frames"], result["objects"]
    lines = [
        f"{result['model']} on {result['topic']}: {frames['answered']} of {frames['truth']} frames answered, "
        f"{objects['matched']} of {objects['in_answered_frames']} objects in them matched",
        f"mIoU {'' if result['beyond_frame'] else 'inside the frame '}against truth, 95 % interval of the answer; "
        f"rows by the truth's occlusion{', what lies outside the frame counts' if result['beyond_frame'] else ''}",
        f"{'':18}{'objects':>9}{'answer':>9}{'interval':>18}{'modal':>9}{'hull':>9}{'bounded hull':>14}",
    ]
    rows = {f"occlusion {name}" if name[0] == "(" else name: row for name, row in result["bins"].items()}
    rows.update({f"  {name}": row for name, row in result["sources"].items()})
    for name, row in rows.items():
        mean = {method: f"{row['methods'][method]['mean']:.3f}" for method in METHODS}
        low, high = row["methods"]["answer"]["interval"]
        between = f"[{low:.3f}, {high:.3f}]"
        lines.append(
            f"{name:20}{row['n']:>7}{mean['answer']:>9}{between:>18}"
            f"{mean['modal']:>9}{mean['hull']:>9}{mean['bounded_hull']:>14}"
        )
    return "\n".join(lines)


def _answers(bag: Path | str, topic: str | None) -> tuple[dict[int, Any], str]:
    with BagReader(bag) as reader:
        topics = [t for t in reader.topics_of(INSTANCES) if t != TRUTH_TOPIC]
    if topic is None and len(topics) != 1:
        found = ", ".join(topics) or "none"
        raise BagError(f"{bag}: expected one topic with {INSTANCES} beside the truth, found {found}")
    if topic is not None and topic not in topics:
        raise BagError(f"{bag}: no {INSTANCES} on {topic}; found {', '.join(topics) or 'none'}")
    topic = topic or topics[0]
    return _arrays(bag, topic), topic


def _arrays(bag: Path | str, topic: str) -> dict[int, Any]:
    """AmodalInstanceArray messages by the stamp of their image; masks stay packed."""
    with BagReader(bag) as reader:
        messages = [record.message() for record in reader.records([topic])]
    return {nanoseconds(message.header.stamp): message for message in messages}


def _compare(stamp: int, answers: list[Answer], truth: list[Answer], beyond_frame: bool) -> list[Record]:
    """One record per object of the truth that was answered. The baselines see the masks that the node saw."""
    scene: Scene | None = None
    place = {answer.instance.id: i for i, answer in enumerate(answers)}
    records = []
    for true in truth:
        i = place.get(true.instance.id)
        if i is None:
            continue
        shape = true.completion.frame_shape
        if scene is None:
            scene = Scene(None, [answer.instance for answer in answers], shape=shape)
        guesses = {
            "answer": answers[i].completion.amodal,
            "modal": scene.masks[i],
            "hull": convex_hull(scene.masks[i]),
            "bounded_hull": scene.bounded_hull(i),
        }
        overlaps = {m: overlap(guess, true.completion.amodal, shape, beyond_frame) for m, guess in guesses.items()}
        name = str(true.instance.id)
        records.append(
            Record(
                frame=str(stamp),
                object=name,
                source=name,  # the frames of one track are one case for the bootstrap
                class_id=true.instance.class_id,
                occlusion=true.completion.occlusion_ratio,
                overlaps=overlaps,
                answers={"answer": answers[i].completion.source.name},
            )
        )
    return records


def _by_source(records: list[Record]) -> dict[str, dict]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.answers["answer"], []).append(record)
    everything = next(iter(BINS))
    return {name: summarise(groups[name], METHODS, reference="answer")[everything] for name in sorted(groups)}


def _span(arrays: dict[int, Any]) -> str:
    return f"{min(arrays)} to {max(arrays)}"
