"""Short films with exact truth, and pipelines that stand in for the model, for the tests of `amodal_ros.live`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from amodal_ros.completion import Interrupted
from amodal_ros.scene import Completion, Instance, MaskRegion, Scene, Source

HEIGHT, WIDTH = 120, 320
RATE = 10


@dataclass(frozen=True)
class Thing:
    """A textured car-like object; films list the farthest first.

    Attributes:
        at: frame number -> (x, y, width): left, bottom and width in pixels, or None while it is away.
    """

    id: int
    at: Callable[[int], tuple[float, float, float] | None]
    colour: tuple[int, int, int]
    tall: float = 0.5
    class_id: str = "car"


def standing(x: float, y: float, width: float) -> Callable[[int], tuple[float, float, float]]:
    return lambda frame: (x, y, width)


def film(things: Iterable[Thing], frames: int, start: int = 1_000_000_000) -> list[tuple[Scene, dict[int, MaskRegion]]]:
    """Frames with the true whole mask of every object in view, ids by `Thing.id`."""
    things = list(things)
    rng = np.random.default_rng(0)
    backdrop = cv2.GaussianBlur(rng.integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8), (0, 0), 2)
    textures = [cv2.GaussianBlur(rng.normal(0, 90, (64, 64, 3)), (0, 0), 1.2) for _ in things]
    shots = []
    for k in range(frames):
        image, owner, truth = backdrop.copy(), np.zeros((HEIGHT, WIDTH), np.int64), {}
        for thing, texture in zip(things, textures):
            place = thing.at(k)
            if place is None:
                continue
            shape = _shape(*place, thing.tall)
            _paint(image, shape, thing.colour, texture)
            inside = shape.full(HEIGHT, WIDTH)
            owner[inside] = thing.id
            truth[thing.id] = shape
        instances = tuple(
            Instance(thing.id, MaskRegion.from_full(owner == thing.id), thing.class_id)
            for thing in things
            if (owner == thing.id).any()
        )
        shots.append((Scene(image, instances, stamp=start + k * 1_000_000_000 // RATE), truth))
    return shots


def _shape(x: float, y: float, width: float, tall: float) -> MaskRegion:
    """A car's side: a body with a cabin on its left half. Its hull is not itself."""
    outline = np.array([(0, 0), (0, 0.55), (0.1, 1), (0.5, 1), (0.6, 0.55), (1, 0.5), (1, 0)])
    corners = np.array([x, y]) + outline * (width, -width * tall)
    low = np.floor(corners.min(0)).astype(int) - 1
    size = np.ceil(corners.max(0)).astype(int) - low + 2
    canvas = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(canvas, [np.rint((corners - low) * 16).astype(np.int32)], 1, shift=4)
    return MaskRegion.from_full(canvas, *low.tolist())


def _paint(image: np.ndarray, shape: MaskRegion, colour: tuple[int, int, int], texture: np.ndarray) -> None:
    inside = shape.clip(HEIGHT, WIDTH)
    if not inside.area:
        return
    skin = np.array(colour) + cv2.resize(texture, (shape.width, shape.height))
    skin = skin[inside.y - shape.y :, inside.x - shape.x :][: inside.height, : inside.width]
    window = image[inside.y : inside.y + inside.height, inside.x : inside.x + inside.width]
    window[inside.bits] = np.clip(skin, 0, 255).astype(np.uint8)[inside.bits]


def passing(frames: int = 30) -> list[tuple[Scene, dict[int, MaskRegion]]]:
    """A car (id 1) drives slowly; a bus (id 2) comes from the right, hides most of it, and passes."""
    car = Thing(1, lambda k: (60 + 2.0 * k, 80, 70), (180, 60, 60))
    bus = Thing(2, lambda k: (260 - 12.0 * k, 112, 110), (60, 60, 190), 0.8, "bus")
    return film([car, bus], frames)


def parked(count: int = 4, frames: int = 20) -> list[tuple[Scene, dict[int, MaskRegion]]]:
    """Cars with odd ids, each half behind one with the next even id; nothing moves."""
    things = []
    for k in range(count):
        x = 5 + k * 310 // count
        things.append(Thing(2 * k + 1, standing(x, 70, 48), (200 - 30 * k, 80, 40 + 30 * k)))
        things.append(Thing(2 * k + 2, standing(x + 22, 84, 40), (40 + 30 * k, 160, 90), 0.7))
    return film(things, frames)


def edited(shots, edit: Callable[[int, Instance], Instance | None]) -> list[tuple[Scene, dict[int, MaskRegion]]]:
    """The same film as another tracker would tell it: `edit(frame number, instance)`, None to leave it out."""
    out = []
    for k, (frame, truth) in enumerate(shots):
        pairs = [(i, edit(k, i)) for i in frame.things]
        kept = tuple(new for _, new in pairs if new is not None)
        out.append((frame.replace(things=kept), {new.id: truth[old.id] for old, new in pairs if new is not None}))
    return out


class Oracle:
    """A pipeline that knows the truth of a film, by image and visible mask. Counts what it is asked."""

    name = "oracle"

    def __init__(self, shots: Iterable[tuple[Scene, Mapping[int, MaskRegion]]]) -> None:
        self._truth = {
            (id(frame.image), *i.visible.trim().box): truth[i.id] for frame, truth in shots for i in frame.things
        }
        self._ids = {(id(frame.image), *i.visible.trim().box): i.id for frame, _ in shots for i in frame.things}
        self.asked: list[int] = []

    def before(self, should_stop: Callable[[], bool]) -> None:
        """What happens before each call's answer; nothing here."""

    def complete(self, scene, *, which, seed=0, on_error="raise", should_stop=lambda: False):
        keys = [(id(scene.image), *scene.masks[i].box) for i in which]
        self.asked += [self._ids[key] for key in keys]
        self.before(should_stop)
        return [
            Completion(scene.masks[i], scene.masks[i] | self._truth[key], scene.shape, Source.INFERRED)
            for i, key in zip(which, keys)
        ]


class Slow(Oracle):
    """Works on each call until `go` is set once more, asking `should_stop` as a denoising loop would."""

    def __init__(self, shots) -> None:
        super().__init__(shots)
        self.working, self.go = threading.Event(), threading.Event()
        self.interrupted = 0

    def before(self, should_stop) -> None:
        self.working.set()
        while not self.go.wait(0.005):
            if should_stop():
                self.interrupted += 1
                raise Interrupted
        self.go.clear()


class Broken(Oracle):
    """Raises for the given calls (all by default)."""

    def __init__(self, shots, calls: Iterable[int] | None = None) -> None:
        super().__init__(shots)
        self._calls = None if calls is None else set(calls)
        self.count = 0

    def before(self, should_stop) -> None:
        self.count += 1
        if self._calls is None or self.count - 1 in self._calls:
            raise RuntimeError("out of memory")
