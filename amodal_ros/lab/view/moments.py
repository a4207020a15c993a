"""What there is to see at one moment: an image, its answers and, where it is known, the truth. No Rerun here."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from amodal_ros.io import read_image, read_mask
from amodal_ros.lab.bags.files import BagError, BagReader
from amodal_ros.lab.bags.make import COMPRESSED_TOPIC, IMAGE_TOPIC, TRUTH_TOPIC
from amodal_ros.lab.bags.typed import INSTANCES, answers_of
from amodal_ros.lab.datasets.registry import dataset_class
from amodal_ros.lab.evaluation.metrics import Record
from amodal_ros.lab.evaluation.results import OURS
from amodal_ros.lab.evaluation.runs import decode, read_masks, read_run
from amodal_ros.messages import nanoseconds
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source
from amodal_ros.stream.images import rgb_of

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
DIAGNOSTICS = "/diagnostics"
REPORT = 1_000_000_000  #: ns between two reports
#: Objects that are hidden by less are no cases to show.
SHOWN_FROM = 0.1
#: What a demo says of itself in its folder.
DEMO = "summary.json"
#: stamp, id, IoU of the answer, IoU of what is visible, hidden share
Row: TypeAlias = tuple[int, int, float, float, float]


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
class Cloud:
    """Obstacles of one image.

    Attributes:
        points: float (n, 3) in metres, in the frame of the message.
        hidden: bool (n,).
        ids: of the objects, int (n,).
    """

    stamp: int
    points: np.ndarray
    hidden: np.ndarray
    ids: np.ndarray

    @staticmethod
    def of(message: Any) -> Cloud:
        """A sensor_msgs/PointCloud2 with the fields that `amodal_obstacles` gives."""
        kinds = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # PointField's
        order = ">" if message.is_bigendian else "<"
        fields = {f.name: (order + kinds[f.datatype], f.offset) for f in message.fields}
        rows = np.frombuffer(bytes(message.data), np.dtype({**_layout(fields), "itemsize": message.point_step}))
        points = np.stack([rows[axis] for axis in "xyz"], axis=1).astype(np.float32)
        return Cloud(nanoseconds(message.header.stamp), points, rows["hidden"] > 0.5, rows["id"].astype(int))


def _layout(fields: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    return {
        "names": [*fields],
        "formats": [kind for kind, _ in fields.values()],
        "offsets": [offset for _, offset in fields.values()],
    }


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
        """By the topics' types where no names are given. A folder that the demo wrote knows the bag that was played.

        Raises:
            BagError: no images, no answers, or several to choose from.
        """
        if recorded is None and (bag / "answers").is_dir():
            recorded = bag / "answers"
            bag, usual_image = _played(bag)
            image = image or usual_image
        recorded = recorded or bag
        with BagReader(bag) as reader:
            images = [topic for kind in IMAGES for topic in reader.topics_of(kind)]
        usual = [topic for topic in (IMAGE_TOPIC, COMPRESSED_TOPIC) if topic in images]
        with BagReader(recorded) as reader:
            answered = [topic for topic in reader.topics_of(INSTANCES) if topic != TRUTH_TOPIC]
        chosen = _one(bag, "--image", image, usual[:1] or images)
        return Drive(bag, recorded, chosen, _one(recorded, "--answers", answers, answered))

    def moments(self) -> Iterator[Moment]:
        """Every image in the order of recording, called by its seconds from the first."""
        first: int | None = None
        answers = _arrays(self.recorded, self.answers)
        truth = _arrays(self.bag, TRUTH_TOPIC)
        names = {int(e.id): f"{e.id} {e.class_id}" for array in truth.values() for e in array.instances if e.class_id}
        with BagReader(self.bag) as reader:
            for record in reader.records([self.image]):
                message = record.message()
                stamp = nanoseconds(message.header.stamp)
                first = stamp if first is None else first
                found = answers_of(answers[stamp]) if stamp in answers else None
                whole = answers_of(truth[stamp]) if stamp in truth else []
                known = {answer.instance.id: answer.completion.amodal for answer in whole}
                yield Moment(f"{(stamp - first) * 1e-9:.1f} s", rgb_of(message), found, stamp, names, known)

    def cases(self, count: int, fewest: int = 400) -> tuple[list[Case], list[Case]]:
        """The hidden objects that gained most over what is visible, and the worst ones; each object once.

        Args:
            count: of either at most so many.
            fewest: smaller objects show nothing (pixels of the whole shape).
        """
        found: list[Row] = []
        answers, truth = _arrays(self.recorded, self.answers), _arrays(self.bag, TRUTH_TOPIC)
        for stamp in sorted(answers.keys() & truth.keys()):
            given = {answer.instance.id: answer.completion for answer in answers_of(answers[stamp])}
            for true in answers_of(truth[stamp]):
                whole, mine = true.completion.amodal, given.get(true.instance.id)
                if mine is not None and whole.area >= fewest and true.completion.occlusion_ratio > SHOWN_FROM:
                    iou, modal = mine.amodal.iou(whole), mine.visible.iou(whole)
                    found.append((stamp, true.instance.id, iou, modal, true.completion.occlusion_ratio))
        best = _once(sorted(found, key=lambda row: row[3] - row[2]), count)
        worst = _once(sorted(found, key=lambda row: row[2]), count)
        wanted = {row[0] for row in (*best, *worst)}
        moments = {m.stamp: m for m in self.moments() if m.stamp in wanted}
        return [_case(moments[row[0]], row) for row in best], [_case(moments[row[0]], row) for row in worst]

    def clouds(self) -> Iterator[Cloud]:
        """What `amodal_obstacles` published, if it was recorded."""
        with BagReader(self.recorded) as reader:
            topics = [topic for topic in reader.topics_of("sensor_msgs/msg/PointCloud2") if "obstacle" in topic]
            for record in reader.records(topics):
                yield Cloud.of(record.message())

    def camera(self) -> tuple[np.ndarray, tuple[int, int]] | None:
        """The rectified camera's matrix, float (3, 3) in pixels, and (height, width); None if nobody knows it."""
        with BagReader(self.bag) as reader:
            for record in reader.records(reader.topics_of("sensor_msgs/msg/CameraInfo")):
                info = record.message()
                matrix = np.asarray(info.p, float).reshape(3, 4)[:, :3]
                return (matrix, (info.height, info.width)) if matrix.any() else None
        return None

    def diagnostics(self) -> Iterator[tuple[int, Any]]:
        """(stamp in the images' time, DiagnosticArray): what the node said while it was played to.

        Times of recording are moved by the answers' usual delay. What was said before and after is of no image.
        """
        with BagReader(self.recorded) as reader:
            answered = [(r.time, nanoseconds(r.message().header.stamp)) for r in reader.records([self.answers])]
            if not answered:
                return
            delay = int(np.median([time - stamp for time, stamp in answered]))
            stamps = [stamp for _, stamp in answered]
            for record in reader.records([DIAGNOSTICS]):
                if min(stamps) <= record.time - delay <= max(stamps) + REPORT:
                    yield record.time - delay, record.message()


def _once(rows: list[Row], count: int) -> list[Row]:
    """The first rows, each object once."""
    first: dict[int, Row] = {}
    for row in rows:
        first.setdefault(row[1], row)
    return [*first.values()][:count]


def _case(moment: Moment, row: Row) -> Case:
    _, number, iou, modal, occlusion = row
    (answer,) = (a for a in moment.answers or [] if a.instance.id == number)
    name = moment.names.get(number, str(number))
    only = dataclasses.replace(
        moment, title=f"{name} at {moment.title}", answers=[answer], truth={number: moment.truth[number]}
    )
    return Case(only, iou, modal, occlusion, answer.completion.source.name)


def of_messages(image: Any, array: Any) -> Moment:
    """A camera image and its AmodalInstanceArray, as they were heard."""
    return Moment("live", rgb_of(image), answers_of(array), nanoseconds(image.header.stamp))


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


def of_run(run: Path, best: bool = False) -> Iterator[Case]:
    """The objects of an evaluation with ``--save-masks``, worst first; or those that gained most over what is visible.

    Raises:
        ValueError: no finished run, or it kept no masks; also what the data set raises where it is no longer there.
    """
    settings, records, _ = read_run([run])
    masks = read_masks(run)
    if not masks:
        raise ValueError(f"{run}: it kept no masks; evaluate with --save-masks")
    method = method_of(settings)

    def rank(record: Record) -> float:
        answer, modal = (both / max(1, either) for both, either in (record.overlaps[m] for m in (method, "modal")))
        return modal - answer if best else answer

    dataset = open_dataset(settings)
    for record in sorted((r for r in records if r.key in masks), key=rank):
        sample = dataset.try_sample(record.frame)
        target = next((o for o in sample.objects if o.id == record.object), None) if sample else None
        if sample is None or target is None:
            continue
        amodal, source = decode(masks[record.key][method]), record.answers.get(method, "UNKNOWN")
        done = Completion(target.visible, amodal, sample.shape, Source[source])
        answer = Answer(Instance(1, target.visible, target.class_id), done, 0)
        iou, modal = (both / max(1, either) for both, either in (record.overlaps[m] for m in (method, "modal")))
        title, name = f"{record.frame} / {record.object}", target.class_id or record.object
        moment = Moment(title, sample.read_image(), [answer], None, {1: name}, {1: target.amodal})
        yield Case(moment, iou, modal, record.occlusion, source)


def method_of(settings: Mapping[str, Any]) -> str:
    """The method of ours that a run is about; of an ablation the first."""
    methods = settings["methods"]
    return OURS if OURS in methods else next(name for name, method in methods.items() if method["ours"])


def open_dataset(settings: Mapping[str, Any]) -> Any:
    """The data set of a run, opened again."""
    root = settings["root"]
    given = {**settings.get("options", {}), "root": Path(root) if root else None, "skip_bad": True}
    return dataset_class(settings["what"]).from_args(argparse.Namespace(**given))


def _arrays(bag: Path, topic: str) -> dict[int, Any]:
    with BagReader(bag) as reader:
        messages = [record.message() for record in reader.records([topic])]
    return {nanoseconds(message.header.stamp): message for message in messages}


def _played(folder: Path) -> tuple[Path, str | None]:
    """The bag that a demo played and its topic of images; the demo's own drive moves along with its folder."""
    said = json.loads((folder / DEMO).read_text())["input"] if (folder / DEMO).is_file() else {}
    bag = Path(said.get("bag", folder / "drive"))
    for place in (bag, folder / bag.name):
        if place.exists():
            return place, said.get("image")
    raise BagError(f"{bag}: the bag that was played is not there; name both: amodal view BAG {folder / 'answers'}")


def _one(bag: Path, option: str, given: str | None, found: list[str]) -> str:
    if given is None and len(found) == 1:
        return found[0]
    if given is not None and given in found:
        return given
    what = "images" if option == "--image" else f"answers ({INSTANCES})"
    if not found:
        hint = "" if option == "--image" else "; name the bag that has them, as in 'amodal view drive answers'"
        raise BagError(f"{bag}: holds no {what}{hint}")
    if given is not None:
        raise BagError(f"{bag}: no {what} on {given}; expected {option} {' or '.join(found)}")
    raise BagError(f"{bag}: {what} on several topics; say which are meant: {option} {' or '.join(found)}")


def cut_out(moment: Moment, margin: float = 0.5) -> Moment:
    """The part of a moment's image around its objects; masks move along."""
    masks = [m for a in moment.answers or [] for m in (a.completion.visible, a.completion.amodal)]
    x, y, width, height = MaskRegion.union_of([*masks, *moment.truth.values()]).trim().box
    reach = round(margin * max(width, height))
    x0, y0 = max(0, x - reach), max(0, y - reach)
    image = moment.image[y0 : y + height + reach, x0 : x + width + reach]
    shape = image.shape[:2]
    answers = [
        dataclasses.replace(
            a,
            completion=dataclasses.replace(
                a.completion,
                visible=a.completion.visible.shift(-x0, -y0),
                amodal=a.completion.amodal.shift(-x0, -y0),
                frame_shape=shape,
            ),
        )
        for a in moment.answers or []
    ]
    truth = {number: mask.shift(-x0, -y0) for number, mask in moment.truth.items()}
    return dataclasses.replace(moment, image=np.ascontiguousarray(image), answers=answers, truth=truth)
