"""What there is to see at one moment: an image, its answers and, where it is known, the truth. No Rerun here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from amodal_ros.io import read_image, read_mask
from amodal_ros.lab.bags.files import BagError, BagReader
from amodal_ros.lab.bags.make import COMPRESSED_TOPIC, IMAGE_TOPIC, TRUTH_TOPIC
from amodal_ros.lab.bags.typed import INSTANCES, answers_of
from amodal_ros.lab.datasets.registry import dataset_class
from amodal_ros.lab.evaluation.results import OURS
from amodal_ros.lab.evaluation.runs import decode, read_masks, read_run
from amodal_ros.messages import nanoseconds
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source
from amodal_ros.stream.images import rgb_of

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
DIAGNOSTICS = "/diagnostics"


@dataclass(frozen=True)
class Moment:
    """One picture with what is known of it.

    Attributes:
        title: what people call it.
        image: RGB uint8 (height, width, 3).
        answers: None where nobody answered.
        stamp: nanoseconds; None where there is no time.
        names: by id, what objects are called.
        truth: by id, the whole shapes.
    """

    title: str
    image: np.ndarray
    answers: list[Answer] | None
    stamp: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    truth: Mapping[int, MaskRegion] = field(default_factory=dict)


@dataclass(frozen=True)
class Drive:
    """A played bag and the answers to it, which may lie in the same bag.

    Attributes:
        image, answers: topics.
    """

    bag: Path
    recorded: Path
    image: str
    answers: str

    @staticmethod
    def of(bag: Path, recorded: Path | None = None, image: str | None = None, answers: str | None = None) -> Drive:
        """By the topics' types where no names are given. A folder that the demo wrote holds both bags.

        Raises:
            BagError: no images, no answers, or several to choose from.
        """
        if (bag / "drive").is_dir() and (bag / "answers").is_dir() and recorded is None:
            bag, recorded = bag / "drive", bag / "answers"
        recorded = recorded or bag
        with BagReader(bag) as reader:
            images = [topic for kind in IMAGES for topic in reader.topics_of(kind)]
        usual = [topic for topic in (IMAGE_TOPIC, COMPRESSED_TOPIC) if topic in images]
        with BagReader(recorded) as reader:
            answered = [topic for topic in reader.topics_of(INSTANCES) if topic != TRUTH_TOPIC]
        chosen = _one(bag, "--image", image, usual[:1] or images)
        return Drive(bag, recorded, chosen, _one(recorded, "--answers", answers, answered))

    def moments(self) -> Iterator[Moment]:
        """Every image in the order of recording."""
        answers = _arrays(self.recorded, self.answers)
        truth = _arrays(self.bag, TRUTH_TOPIC)
        names = {int(e.id): f"{e.id} {e.class_id}" for array in truth.values() for e in array.instances if e.class_id}
        with BagReader(self.bag) as reader:
            for record in reader.records([self.image]):
                message = record.message()
                stamp = nanoseconds(message.header.stamp)
                found = answers_of(answers[stamp]) if stamp in answers else None
                whole = answers_of(truth[stamp]) if stamp in truth else []
                known = {answer.instance.id: answer.completion.amodal for answer in whole}
                yield Moment(str(stamp), rgb_of(message), found, stamp, names, known)

    def diagnostics(self) -> Iterator[tuple[int, Any]]:
        """(stamp in the images' time, DiagnosticArray): what the node said, moved by the answers' usual delay."""
        with BagReader(self.recorded) as reader:
            late = [r.time - nanoseconds(r.message().header.stamp) for r in reader.records([self.answers])]
            delay = int(np.median(late)) if late else 0
            for record in reader.records([DIAGNOSTICS]):
                yield record.time - delay, record.message()


def of_completions(folder: Path) -> Moment:
    """What `amodal complete` wrote into a folder.

    Raises:
        ValueError, OSError: it is no such folder, or the image is gone.
    """
    summary = json.loads((folder / "completions.json").read_text())
    image = read_image(summary["image"])
    answers = []
    for k, row in enumerate(summary["objects"], 1):
        visible = MaskRegion.from_full(read_mask(folder / row["visible"], image.shape[:2]))
        amodal = MaskRegion.from_full(read_mask(folder / row["mask"], image.shape[:2]))
        if "whole_mask" in row:
            amodal = MaskRegion.from_full(read_mask(folder / row["whole_mask"]), *row["whole_offset"])
        expected = np.nan if row["expected_iou"] is None else row["expected_iou"]
        done = Completion(visible, amodal, image.shape[:2], Source[row["source"]], expected)
        answers.append(Answer(Instance(k, visible), done, 0))
    names = {k: str(row["id"]) for k, row in enumerate(summary["objects"], 1)}
    return Moment(str(summary["image"]), image, answers, names=names)


@dataclass(frozen=True)
class Case:
    """One evaluated object.

    Attributes:
        iou: of the answer with the truth; `modal`: of the visible mask with it.
    """

    moment: Moment
    iou: float
    modal: float
    occlusion: float
    source: str


def of_run(run: Path) -> Iterator[Case]:
    """The objects of an evaluation with ``--save-masks``, worst first.

    Raises:
        ValueError: no finished run, or it kept no masks; also what the data set raises where it is no longer there.
    """
    settings, records, _ = read_run([run])
    masks = read_masks(run)
    if not masks:
        raise ValueError(f"{run}: it kept no masks; evaluate with --save-masks")
    method = OURS if OURS in settings["methods"] else next(m for m, s in settings["methods"].items() if s["ours"])
    dataset = open_dataset(settings)
    known = [r for r in records if r.key in masks]
    for record in sorted(known, key=lambda r: r.overlaps[method][0] / max(1, r.overlaps[method][1])):
        sample = dataset.try_sample(record.frame)
        target = next((o for o in sample.objects if o.id == record.object), None) if sample else None
        if sample is None or target is None:
            continue
        source = record.answers.get(method, "UNKNOWN")
        amodal = decode(masks[record.key][method])
        done = Completion(target.visible, amodal, sample.shape, Source[source])
        answer = Answer(Instance(1, target.visible, target.class_id), done, 0)
        iou, modal = (both / max(1, either) for both, either in (record.overlaps[m] for m in (method, "modal")))
        image, title = sample.read_image(), f"{record.frame} / {record.object}"
        names = {1: target.class_id or record.object}
        yield Case(
            Moment(title, image, [answer], None, names, {1: target.amodal}), iou, modal, record.occlusion, source
        )


def open_dataset(settings: Mapping[str, Any]) -> Any:
    """The data set of a run, opened again."""
    import argparse

    root = settings["root"]
    given = {**settings.get("options", {}), "root": Path(root) if root else None, "skip_bad": True}
    return dataset_class(settings["what"]).from_args(argparse.Namespace(**given))


def _arrays(bag: Path, topic: str) -> dict[int, Any]:
    with BagReader(bag) as reader:
        messages = [record.message() for record in reader.records([topic])]
    return {nanoseconds(message.header.stamp): message for message in messages}


def _one(bag: Path, option: str, given: str | None, found: list[str]) -> str:
    if given is None and len(found) == 1:
        return found[0]
    if given is not None and given in found:
        return given
    what = "images" if option == "--image" else f"answers ({INSTANCES})"
    raise BagError(f"{bag}: {option}: expected a topic with {what}, found {', '.join(found) or 'none'}")
