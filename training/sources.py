"""Where crops come from: `--pool KIND[:PATH] [SHARE]`.

`streets` is drawn. `folder:DIR` and `bag:BAG` are drives with tracked instance masks; `training.wholes` finds the whole
objects. `objects:DIR` holds pictures ``NAME.jpg`` with label maps ``NAME.png`` in which 1 is a whole object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.io import cut_labels, read_image, read_labels
from amodal_ros.lab.bags.files import BagReader
from amodal_ros.lab.bags.make import COMPRESSED_TOPIC, IMAGE_TOPIC, LABELS_TOPIC
from amodal_ros.lab.bags.sources import folder_frames
from amodal_ros.scene import MaskRegion, Scene
from amodal_ros.stream.images import labels_of, rgb_of
from training.pool import Crop, Pool, Pools, draw_streets, write_pool
from training.recipe import Recipe
from training.wholes import crop_around, whole_views

KINDS = ("streets", "folder", "bag", "objects")
WAITING = 100  # messages of a bag that are kept until their partner comes
INDEX = "pools.json"  # beside the pools: their shares


@dataclass(frozen=True)
class Source:
    """One `--pool`: what it is, where, how often it is drawn from relative to the others, and a bag's topics."""

    kind: str
    path: Path | None
    share: float = 1.0
    topics: tuple[str, ...] = ()

    @staticmethod
    def parse(words: Sequence[str]) -> Source:
        """From the words of one `--pool`: ``KIND[:PATH] [SHARE]``.

        Raises:
            ValueError: another kind, a path that is missing or not there, a share that is no number above 0.
        """
        kind, _, path = words[0].partition(":")
        path, *topics = path.split(":") if kind == "bag" else [path]
        if kind not in KINDS:
            raise ValueError(f"--pool: expected one of {', '.join(KINDS)}, got {kind!r}")
        if (kind == "streets") == bool(path):
            raise ValueError(f"--pool {words[0]}: expected streets alone, or {kind}:PATH")
        if len(topics) not in (0, 2):
            raise ValueError(f"--pool {words[0]}: expected bag:BAG or bag:BAG:IMAGE_TOPIC:LABELS_TOPIC")
        if path and not Path(path).exists():
            raise ValueError(f"--pool {words[0]}: no such file or folder: {path}")
        try:
            share = float(words[1]) if len(words) > 1 else 1.0
        except ValueError:
            share = 0.0
        if len(words) > 2 or not 0 < share < float("inf"):
            raise ValueError(f"--pool {' '.join(words)}: expected one share, a number above 0")
        return Source(kind, Path(path) if path else None, share, tuple(topics))

    @property
    def name(self) -> str:
        """The pool's folder: told apart by kind and the path's last part."""
        return self.kind if self.path is None else f"{self.kind}-{self.path.resolve().name}"

    def fill(self, folder: Path, recipe: Recipe) -> Pool:
        """Draw or cut this source's crops into `folder`, unless they are there already."""
        if self.kind == "streets":
            return draw_streets(folder, recipe.crops, recipe.pool_side)
        if (folder / "images.npy").exists():  # written last
            return Pool.open(folder)
        assert self.path is not None
        if self.kind == "objects":
            return write_pool(folder, object_crops(self.path, recipe.pool_side))
        frames = drive_frames(self.path) if self.kind == "folder" else bag_frames(self.path, *self.topics)
        return write_pool(folder, whole_views(frames, recipe.pool_side))


def fill_pools(folder: Path, sources: Sequence[Source], recipe: Recipe) -> Pools:
    """Every source's pool below `folder`, and which there are: `open_pools` finds them again."""
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"--pool: two of one kind and name: {', '.join(sorted(names))}")
    pools = [source.fill(folder / source.name, recipe) for source in sources]
    (folder / INDEX).write_text(json.dumps({s.name: s.share for s in sources}, indent=2) + "\n")
    return Pools(pools, [source.share for source in sources])


def open_pools(folder: Path) -> Pools:
    """What `fill_pools` left in `folder`."""
    shares = json.loads((folder / INDEX).read_text())
    return Pools([Pool.open(folder / name) for name in shares], list(shares.values()))


def object_crops(folder: Path, side: int) -> Iterator[Crop]:
    """A crop around instance 1 of every picture that has a label map beside it."""
    for path in sorted(folder.glob("*.jpg")):
        if path.with_suffix(".png").exists():
            labels = read_labels(path.with_suffix(".png"))
            thing = MaskRegion.from_full(labels == 1)
            others = [MaskRegion.from_full(labels == i) for i in np.unique(labels[labels > 1])]
            if thing:
                yield crop_around(ObjectCrop.around(thing, 0.5, side), read_image(path), [thing, *others])


def drive_frames(folder: Path) -> Iterator[Scene]:
    """A folder with ``images/`` and ``labels/``, as `amodal bag make folder` reads it, as frames of one drive."""
    for position, frame in enumerate(folder_frames(folder)):
        yield _frame(frame.image, frame.labels, position)


def bag_frames(bag: Path, image: str = "", labels: str = LABELS_TOPIC) -> Iterator[Scene]:
    """A bag's images with the label maps of the same stamp.

    Args:
        image, labels: their topics; by default those that `amodal bag make` writes.

    Raises:
        BagError: it cannot be read, or a message is not what it says.
        ValueError: it lacks a topic, or no image and label map have one stamp.
    """
    with BagReader(bag) as reader:
        image = image or next((t for t in (IMAGE_TOPIC, COMPRESSED_TOPIC) if reader.counts.get(t)), IMAGE_TOPIC)
        for topic in (image, labels):
            if not reader.counts.get(topic):
                there = ", ".join(sorted(topic for topic, count in reader.counts.items() if count))
                raise ValueError(
                    f"{bag}: no messages on {topic}; name the topics as bag:BAG:IMAGE:LABELS; it has {there}"
                )
        waiting: dict[str, dict[int, np.ndarray]] = {image: {}, labels: {}}
        paired = 0
        for record in reader.records([image, labels]):
            message = record.message()
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            waiting[record.topic][stamp] = rgb_of(message) if record.topic == image else labels_of(message)
            if len(waiting[record.topic]) > WAITING:  # cameras are often faster than segmenters
                del waiting[record.topic][next(iter(waiting[record.topic]))]
            if all(stamp in part for part in waiting.values()):
                paired += 1
                yield _frame(waiting[image].pop(stamp), waiting[labels].pop(stamp), stamp)
    if not paired:
        raise ValueError(f"{bag}: no image on {image} has the stamp of a label map on {labels}")


def _frame(image: np.ndarray, labels: np.ndarray, stamp: int) -> Scene:
    return Scene(image, cut_labels(labels).instances, stamp=stamp)
