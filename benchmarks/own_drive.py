"""What training on a drive gives on the rest of that drive.

    python -m benchmarks.own_drive split DRIVE PART               # the first frames, as a folder to train on
    python -m training.train --out RUN --start amodal_ros/models/embedded --pool folder:PART --pool streets
    python -m benchmarks.own_drive measure DRIVE embedded RUN/export

DRIVE is a folder with images/ and labels/ (label maps whose values are tracks). Measured is on the frames that follow:
objects of tracks that the first frames do not have, seen whole, with another such object pasted in front of them. The
truth is exact. Every model completes each composite knowing the mask in front (instances), and not knowing it (any).
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from amodal_ros.completion import AmodalPipeline
from amodal_ros.io import images_in
from amodal_ros.scene import MaskRegion, Scene
from amodal_ros.scene.hull import convex_hull
from training.sources import drive_frames
from training.wholes import chosen_views, stands_alone

FIRST = 0.5  # of the frames: to train on
SHARES = (0.2, 0.4, 0.6)  # of the object that the pasted one hides, about
TRIES, TOLERANCE, SEED = 200, 0.05, 0
MODES = ("instances", "any")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("drive", type=Path)
    splitting.add_argument("part", type=Path)
    splitting.set_defaults(run=lambda a: split(a.drive, a.part))
    measuring = commands.add_parser("measure")
    measuring.add_argument("drive", type=Path)
    measuring.add_argument("models", nargs="+", help="profiles, or folders that a training exported")
    measuring.set_defaults(run=lambda a: measure(a.drive, a.models))
    arguments = parser.parse_args()
    arguments.run(arguments)


def split(drive: Path, part: Path) -> None:
    """Copy the first frames of a drive."""
    images = images_in(drive / "images")
    chosen = images[: round(FIRST * len(images))]
    for image in chosen:
        for file in (image, *(drive / "labels").glob(f"{image.stem}.*")):
            target = part / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    print(f"{len(chosen)} of {len(images)} frames")


class Composite(NamedTuple):
    """An object hidden by a pasted one; masks in frame coordinates."""

    image: np.ndarray
    whole: MaskRegion
    front: MaskRegion
    others: list[MaskRegion]
    share: float
    track: int


def measure(drive: Path, models: list[str]) -> None:
    """Print mean IoU with the whole object, by what is hidden."""
    cases = list(composites(list(drive_frames(drive))))
    pipelines = {name: AmodalPipeline.from_pretrained(name) for name in models}
    rows = []
    for case in cases:
        height, width = case.image.shape[:2]
        visible = case.whole - case.front
        hull, context = convex_hull(visible), [case.front, *case.others]
        geometric = Scene.of_masks([visible, *context], (height, width)).geometric(0).amodal
        row = [case.share, *(answer.iou(case.whole) for answer in (visible, hull, geometric))]
        for pipeline in pipelines.values():
            for mode in MODES:
                known = context if mode == "instances" else case.others
                (answer,) = pipeline.complete(case.image, [visible], known, occluders=mode)
                row.append(answer.amodal.iou(case.whole))
        rows.append(row)
    table = np.array(rows)
    names = ["visible", "hull", "geometric", *(f"{Path(m).name} {mode}" for m in models for mode in MODES)]
    print(f"{len(cases)} composites of {len({case.track for case in cases})} tracks")
    print("| hidden | n | " + " | ".join(names) + " |\n" + "| --- " * (len(names) + 2) + "|")
    for share in (*SHARES, None):
        chosen = table if share is None else table[np.abs(table[:, 0] - share) <= TOLERANCE]
        means = " | ".join(f"{100 * value:.1f}" for value in chosen[:, 1:].mean(0)) if len(chosen) else ""
        print(f"| {'all' if share is None else f'about {share:.0%}'} | {len(chosen)} | {means} |")


def composites(frames: list[Scene]) -> Iterator[Composite]:
    """Whole objects of tracks that begin after the first part, each hidden by another one to every share."""
    first = round(FIRST * len(frames))
    known = {instance.id for frame in frames[:first] for instance in frame.things}
    views: dict[int, list[tuple[Scene, int]]] = defaultdict(list)
    for scene in frames[first:]:
        for i, thing in enumerate(scene.things):
            if stands_alone(scene, i):
                views[thing.id].append((scene, i))
    rng = np.random.default_rng(SEED)
    for track in sorted(views.keys() - known):
        lenders = [view for other, seen in views.items() if other != track for view in seen]
        areas = [float(scene.masks[i].area) for scene, i in views[track]]
        for scene, i in (views[track][k] for k in chosen_views(areas)):
            for share in SHARES:
                lent = lenders[rng.integers(len(lenders))]
                if (pasted := _pasted(scene.image, scene.masks[i], share, lent, rng)) is not None:
                    image, front, hidden = pasted
                    others = [mask - front for j, mask in enumerate(scene.masks) if j != i]
                    yield Composite(image, scene.masks[i], front, others, hidden, track)


def _pasted(
    image: np.ndarray, whole: MaskRegion, share: float, lent: tuple[Scene, int], rng: np.random.Generator
) -> tuple[np.ndarray, MaskRegion, float] | None:
    """The lent object, about as large, put where it hides `share` of `whole`; None when no place in the frame does."""
    scene, i = lent
    mask = scene.masks[i]
    x, y, width, height = mask.box
    factor = rng.uniform(0.7, 1.3) * max(whole.width, whole.height) / max(width, height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    pixels = cv2.resize(scene.image[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)
    bits = cv2.resize(mask.bits.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    for _ in range(TRIES):
        left = int(whole.x + rng.uniform(-1, 1) * size[0] + whole.width * rng.random() / 2)
        top = int(whole.y + rng.uniform(-1, 1) * size[1] + whole.height * rng.random() / 2)
        front = MaskRegion(left, top, bits)
        hidden = whole.overlap(front) / whole.area
        if abs(hidden - share) <= TOLERANCE and front.clip(*image.shape[:2]).area == front.area:
            composite = image.copy()
            composite[top : top + size[1], left : left + size[0]][bits] = pixels[bits]
            return composite, front, hidden
    return None


if __name__ == "__main__":
    main()
