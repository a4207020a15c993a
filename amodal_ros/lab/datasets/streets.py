"""Synthetic streets with exact truth, drawn from a seed: scenes, sequences, training crops, frozen test lists.

Every scene comes from one integer. Training draws its seeds from `TRAIN_SEEDS`; the frozen lists use `TEST_SEEDS` and
`TEST_UNSEEN_SEEDS`, and no seed belongs to two of them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from amodal_ros.lab.datasets.street_world import kinds, placement, traffic, view
from amodal_ros.lab.datasets.street_world.backdrop import Backdrop
from amodal_ros.lab.datasets.street_world.camera import Camera, Pose
from amodal_ros.lab.datasets.street_world.label_noise import roughen
from amodal_ros.lab.datasets.street_world.placement import Street
from amodal_ros.lab.datasets.street_world.render import Sensor, Sprite, noise_tile
from amodal_ros.scene import Instance
from amodal_ros.scene.mask import MaskRegion

TRAIN_SEEDS = range(0, 1_000_000_000)
TEST_SEEDS = range(1_000_000_000, 1_100_000_000)
TEST_UNSEEN_SEEDS = range(1_100_000_000, 1_200_000_000)

KITTI_SIZE = (375, 1242)  # (height, width)

Labels = Literal["things", "all"]
Split = Literal["test", "test-unseen"]
LISTS = Path(__file__).with_name("lists")


@dataclass(frozen=True)
class StreetObject:
    """One object with its truth.

    Attributes:
        id: 1 or more; stable over a sequence.
        kind: "car", "van", "truck", "bus", "cyclist", "pedestrian", "pole", "tree", "sign" or "fence"; in unseen scenes
            others (`street_world.kinds`).
        amodal: the whole object; may leave the frame, and is drawn to half a frame beyond each edge.
        visible: what of it the camera sees, inside the frame; may be empty.
        depth: distance of its middle from the camera in metres.
        frame_shape: (height, width) of the frame.
        footprint: corners of its rectangle on the ground, (4, 2) as (X to the right, Z forward) of the camera, metres.
        surface: distance along the optical axis at the pixels of `amodal`, hidden ones too: float32 of its box, metres,
            0 off the object.
    """

    id: int
    kind: str
    amodal: MaskRegion
    visible: MaskRegion
    depth: float
    frame_shape: tuple[int, int]
    footprint: np.ndarray = field(default_factory=lambda: np.zeros((4, 2)), repr=False, compare=False)
    surface: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32), repr=False, compare=False)

    @property
    def class_id(self) -> str:
        """The class's name: its kind."""
        return self.kind

    @property
    def labelled(self) -> bool:
        """Whether `labels="things"` has it: vehicles, people and animals."""
        return self.kind in kinds.LABELLED

    @cached_property
    def occlusion(self) -> float:
        """1 - |V| / |A inside the frame|, in [0, 1]; 0 when it is outside the frame."""
        inside = self.amodal.clip(*self.frame_shape).area
        return 1.0 - self.visible.area / inside if inside else 0.0


@dataclass(frozen=True)
class StreetFrame:
    """One image with its truth.

    Attributes:
        image: RGB uint8 (height, width, 3).
        objects: nearest first: no object hides one that comes before it.
        depth: distance along the optical axis, float32 (height, width) in metres, 0 in the sky. Exact for ground,
            walls and flat faces; limbs and other round parts have their mean distance.
        stamp: nanoseconds.
        seed: the scene's number; label noise follows from it and the stamp.
    """

    image: np.ndarray
    objects: tuple[StreetObject, ...]
    depth: np.ndarray
    stamp: int = 0
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.shape[0], self.image.shape[1]

    def instances(self, labels: Labels = "things", noise: int = 0) -> tuple[Instance, ...]:
        """What a segmenter upstream would give: visible masks with ids, disjoint, nearest first.

        Args:
            labels: "things" for vehicles, people and animals only, so that poles, trees, signs and fences hide without
                being labelled; "all" for these too.
            noise: 0 for exact masks, up to 3 for what `street_world.label_noise.roughen` does to them. With noise an
                object can be missing: nothing of it was left, or (level 3) a neighbour took it over.

        Raises:
            ValueError: unknown `labels` or `noise`.
        """
        if labels not in ("things", "all"):
            raise ValueError(f"labels: expected 'things' or 'all', got {labels!r}")
        shown = {o.id: o.visible for o in self.objects if o.visible.area and (labels == "all" or o.labelled)}
        rng = np.random.Generator(np.random.PCG64([self.seed, self.stamp, noise + 1000]))
        kind = {o.id: o.class_id for o in self.objects}
        return tuple(Instance(id, mask, kind[id]) for id, mask in roughen(shown, noise, self.shape, rng).items())

    def truth(self, id: int) -> StreetObject:
        """The object of this id.

        Raises:
            KeyError: no such object in this frame.
        """
        for thing in self.objects:
            if thing.id == id:
                return thing
        raise KeyError(f"object {id}: this frame has {sorted(o.id for o in self.objects)}")


def scene(
    seed: int, size: tuple[int, int] = KITTI_SIZE, objects: int | None = None, unseen: bool = False
) -> StreetFrame:
    """One street scene.

    Args:
        seed: the scene's number, 0 or more.
        size: (height, width) in pixels.
        objects: how many to place where there is room; drawn from 12 to 26 when None.
        unseen: draw only kinds, shapes and textures that training never draws; otherwise never draw those.
    """
    _check(seed, size, objects)
    rng = np.random.Generator(np.random.PCG64([seed, int(unseen)]))
    count = int(rng.integers(12, 27))
    street = Street(Backdrop(rng, unseen), placement.drawn_light(rng), Sensor.drawn(rng))
    placement.furnish(street, rng, count if objects is None else objects, unseen)
    return _frame(street, Camera.for_size(*size), Pose(yaw=rng.normal(0, 0.05)), 0.0, rng, seed)


def staged(
    seed: int, things: Sequence[tuple[str, float, float, float]], size: tuple[int, int] = KITTI_SIZE
) -> StreetFrame:
    """A street with these objects and no others, wherever they are put; for scenarios.

    Args:
        seed: of surroundings, light and looks.
        things: (kind, X to the right, Z forward, yaw) of each, metres and radians; yaw 0 heads away from the camera, a
            quarter turn to the right is pi / 2. Their ids count from 1.
    """
    _check(seed, size, len(things))
    rng = np.random.Generator(np.random.PCG64([seed, 3]))
    street = Street(Backdrop(rng, unseen=False), placement.drawn_light(rng), Sensor.drawn(rng))
    for k, (kind, x, z, yaw) in enumerate(things, 1):
        street.things.append(placement.Thing(k, kind, placement.new_seed(rng), Pose(x, z, yaw)))
    return _frame(street, Camera.for_size(*size), Pose(), 0.0, rng, seed)


def sequence(
    seed: int, frames: int, size: tuple[int, int] = KITTI_SIZE, objects: int = 10, rate: float = 10.0
) -> Iterator[StreetFrame]:
    """A drive: frames one after another, with ids that stay with their objects.

    Vehicles cross, come towards the camera, lead it and stand parked; people walk and ride; poles, trees, signs and
    fences hide them for a while. `StreetFrame.stamp` is frame / rate in nanoseconds.

    Args:
        seed: the drive's number, 0 or more.
        frames: how many.
        size: (height, width) in pixels.
        objects: how many there are along the way; not all are in view at once.
        rate: frames a second.
    """
    _check(seed, size, objects)
    if frames < 0 or rate <= 0:
        raise ValueError(f"frames and rate: expected 0 or more and more than 0, got {frames} and {rate}")
    return _drive(seed, frames, Camera.for_size(*size), objects, rate)


def _drive(seed: int, frames: int, camera: Camera, objects: int, rate: float) -> Iterator[StreetFrame]:
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    drive, seconds = traffic.Drive.drawn(rng), frames / rate
    crossing = drive.speed * seconds * rng.uniform(0.3, 0.9) + rng.uniform(12, 25)
    backdrop = Backdrop(rng, unseen=False, length=150 + drive.speed * seconds, crossing=crossing)
    street = Street(backdrop, placement.drawn_light(rng), Sensor.drawn(rng))
    traffic.furnish(street, rng, objects, drive, seconds)
    for i in range(frames):
        now = i / rate
        yield _frame(street, camera, drive.at(now), now, rng, seed, round(now * 1e9))


def _frame(
    street: Street, camera: Camera, eye: Pose, seconds: float, rng: np.random.Generator, seed: int, stamp: int = 0
) -> StreetFrame:
    seen = view.look(street, camera, eye, seconds, reach=0.5, with_depth=True)
    shape = (camera.height, camera.width)
    taken, found = np.zeros(shape, bool), []
    for thing, sprite, distance in seen.drawn:
        inside = sprite.mask.clip(*shape)
        if not inside.area:
            continue
        x, y, w, h = inside.box
        free = inside.bits & ~taken[y : y + h, x : x + w]
        taken[y : y + h, x : x + w] |= inside.bits
        footprint = placement.footprint(thing.shape(seconds), thing.at(seconds).seen_from(eye))
        visible = MaskRegion.from_full(free, x, y)
        found.append(
            StreetObject(
                thing.id, thing.kind, sprite.mask, visible, distance, shape, footprint, _surface(sprite, distance)
            )
        )
    assert seen.depth is not None
    return StreetFrame(street.sensor.expose(seen.image, rng), tuple(found), seen.depth, stamp, seed)


def _surface(sprite: Sprite, distance: float) -> np.ndarray:
    assert sprite.depth is not None
    x, y, w, h = sprite.mask.box
    patch = sprite.depth[y - sprite.y : y - sprite.y + h, x - sprite.x : x - sprite.x + w]
    return np.where(sprite.mask.bits, np.where(patch > 0, patch, np.float32(distance)), np.float32(0))


def crop_sample(
    rng: np.random.Generator, resolution: int = 128, alone: bool = False
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A training crop: a square around one object as the method would cut it, drawn at its own resolution.

    Args:
        rng: seeded from `TRAIN_SEEDS`.
        resolution: side of the crop in pixels.
        alone: one unhidden object before a plain background, instead of a street where others may hide it.

    Returns:
        (image, ids, kinds): RGB uint8 (r, r, 3); int32 (r, r) visible instances, 0 where there is none, poles, trees,
        signs and fences included; `kinds[i]` is the kind of id i + 1. Id 1 is the object that the crop is about, and
        may be wholly hidden.
    """
    street = Street(
        placement.shared_backdrop(int(rng.integers(placement.SHARED_BACKDROPS))),
        placement.drawn_light(rng),
        Sensor.drawn(rng),
    )
    target = placement.furnish_crop(street, rng, alone)
    eye = Pose(yaw=rng.normal(0, 0.05))
    camera = placement.crop_window(rng, target, eye, resolution)
    seen = view.look(street, camera, eye, plain=_plain(rng, resolution) if alone else None)
    order = [target, *(thing for thing, *_ in seen.drawn if thing is not target)]
    ids = np.zeros((resolution, resolution), np.int32)
    for thing, sprite, _ in reversed(seen.drawn):
        x, y, w, h = sprite.mask.box
        ids[y : y + h, x : x + w][sprite.mask.bits] = order.index(thing) + 1
    image = street.sensor.expose(seen.image, rng)
    native = round(resolution * Camera.for_size(*KITTI_SIZE).focal / camera.focal)
    if (
        native < resolution and rng.random() < 0.7
    ):  # a small object, magnified from the few pixels that a frame has of it
        few = cv2.resize(image, (native, native), interpolation=cv2.INTER_AREA)
        image = cv2.resize(few, (resolution, resolution), interpolation=cv2.INTER_LINEAR)
    return image, ids, [thing.kind for thing in order]


def _plain(rng: np.random.Generator, resolution: int) -> np.ndarray:
    """A background without things: a colour, a gradient, or mottle."""
    base, slope = rng.uniform(20, 235, 3), rng.uniform(-60, 60, (2, 3)) * (rng.random() < 0.6)
    place = np.linspace(-0.5, 0.5, resolution)[:, None]
    field = base + (place * slope[0])[:, None, :] + (place * slope[1])[None, :, :]
    if rng.random() < 0.5:
        shift = int(rng.integers(256))
        steps = (np.arange(resolution) * rng.uniform(0.3, 1.5) + shift).astype(int) % 256
        field = field + rng.uniform(3, 18) * noise_tile()[steps[:, None], steps][:, :, None]
    return np.clip(field, 0, 255).astype(np.uint8)


def _check(seed: int, size: tuple[int, int], objects: int | None) -> None:
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    if len(size) != 2 or min(size) < 16:
        raise ValueError(f"size: expected (height, width) of at least 16 pixels each, got {size}")
    if objects is not None and objects < 0:
        raise ValueError(f"objects: expected 0 or more, got {objects}")


# --- the frozen lists -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StreetCase:
    """One object of a frozen list: its scene's seed, its id there, and how much of it is hidden."""

    seed: int
    id: int
    occlusion: float


def test_list(split: Split) -> list[StreetCase]:
    """The cases of a frozen list, grouped by scene.

    Raises:
        ValueError: no such split.
    """
    return [StreetCase(*case) for case in _read_list(split)["cases"]]


def test_frames(split: Split) -> Iterator[tuple[StreetFrame, list[int]]]:
    """Every scene of a frozen list once, with the ids of the objects that count."""
    ids: dict[int, list[int]] = {}
    for case in test_list(split):
        ids.setdefault(case.seed, []).append(case.id)
    for seed, wanted in ids.items():
        yield scene(seed, unseen=split == "test-unseen"), wanted


test_list.__test__ = test_frames.__test__ = False  # type: ignore[attr-defined]  # pytest: these are no tests


def fingerprint(split: Split, scenes: int = 4) -> str:
    """SHA-256 over images and masks of a list's first scenes: it tells when the generator draws anything else."""
    digest = hashlib.sha256()
    for frame, _ in itertools.islice(test_frames(split), scenes):
        digest.update(frame.image.tobytes())
        for thing in frame.objects:
            for mask in (thing.amodal.trim(), thing.visible.trim()):
                digest.update(np.array([thing.id, *mask.box], "<i8").tobytes() + mask.pack().tobytes())
    return digest.hexdigest()


def frozen_fingerprint(split: Split) -> str:
    """What `fingerprint` gave when the list was frozen."""
    return _read_list(split)["sha256"]


def _read_list(split: Split) -> dict:
    file = LISTS / f"streets-{split}.json"
    if split not in ("test", "test-unseen"):
        raise ValueError(f"split: expected 'test' or 'test-unseen', got {split!r}")
    return json.loads(file.read_text())
