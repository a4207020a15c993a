"""Is the best answer better than geometry, harmless where nothing is hidden, and does it know what it is worth?

    PYTHONPATH=. ./env python -m benchmarks.judge --folder IG02 PASTE --coco-a COCOA --streets test test-unseen

Per data set, `occluders` and occlusion: mean IoU in percent of the visible mask, its hull, the geometric answer and the
answer with default settings; answer minus geometric with the 95 % bootstrap interval over source objects; the expected
IoU; how much of an object's hidden pixels `possible` holds, and its median area inside the frame in units of the
object's. Below each set, expected against actual IoU per decile. Photographs are compared inside the frame, where their
truth ends; streets (labels of things only) beyond it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.datasets.base import Dataset
from amodal_ros.lab.datasets.coco_a import CocoA
from amodal_ros.lab.datasets.folder import Folder
from amodal_ros.lab.datasets.streets_split import StreetsSplit
from amodal_ros.lab.evaluation.baselines import scene_of
from amodal_ros.lab.evaluation.metrics import bootstrap_means, interval
from amodal_ros.scene import MaskRegion, convex_hull
from amodal_ros.scene.overlay import outlines
from training.calibrate import HIDDEN, gap

BINS = {"whole": (-1, 0.02), "(.02, .2]": (0.02, 0.2), "(.2, .5]": (0.2, 0.5), "(.5, .8]": (0.5, 0.8)}
BINS["(.02, .8]"] = (0.02, 0.8)
COLUMNS = ("modal", "hull", "geometric", "answer", "expected")
TILE, SHOWN = 160, 10


@dataclass
class Row:
    """One object: IoUs with the truth; `hidden`: the share that is not visible, outside the frame too; `held`: NaN
    where nothing is hidden."""

    source: str
    occlusion: float
    hidden: float
    modal: float
    hull: float
    geometric: float
    answer: float
    expected: float
    held: float
    area: float
    kind: str


def rows(
    dataset: Dataset, pipeline: AmodalPipeline, occluders: str, pictures: list[tuple[float, np.ndarray]]
) -> Iterator[Row]:
    for sample in tqdm(dataset, mininterval=5, desc=f"{dataset.name} {occluders}", leave=False):
        scene, shape = scene_of(sample).replace(occluders=occluders), sample.shape
        for i, done in enumerate(pipeline.complete(scene, seed=0)):
            target, mask = sample.objects[i], scene.masks[i]
            if not mask.area:
                continue

            def shown(region: MaskRegion, shape=shape, beyond=sample.truth_leaves_frame) -> MaskRegion:
                return region if beyond else region.clip(*shape)

            truth = shown(target.amodal)
            hull, geometric = convex_hull(mask), scene.geometric(i).amodal
            ious = [shown(region).iou(truth) for region in (mask, hull, geometric, done.amodal)]
            missing, possible = truth - mask, done.possible
            held = missing.overlap(possible) / missing.area if missing.area > HIDDEN[0] * truth.area else math.nan
            area = possible.clip(*shape).area / truth.area
            yield Row(
                target.source or f"{sample.frame_id}/{target.id}",
                target.occlusion,
                missing.area / truth.area,
                *ious,
                done.expected_iou,
                held,
                area,
                str(done.source),
            )
            if abs(ious[3] - ious[2]) > 0.001:
                pictures.append((ious[3] - ious[2], strip(scene.image, mask, geometric, done.amodal, truth)))


def strip(image: np.ndarray, *masks: MaskRegion) -> np.ndarray:
    """The image around an object four times: what is visible, the geometric answer, the answer, the truth."""
    height, width = image.shape[:2]
    x, y, w, h = MaskRegion.union_of(masks).clip(height, width).box
    side = round(1.3 * max(w, h, 24))
    left, top = x + w // 2 - side // 2, y + h // 2 - side // 2
    tiles = []
    for mask in masks:
        place = np.array([[TILE / side, 0, -left * TILE / side], [0, TILE / side, -top * TILE / side]])
        tile = cv2.warpAffine(image, place, (TILE, TILE), flags=cv2.INTER_AREA)
        for line in outlines(mask):
            points = ((line.reshape(-1, 2) + 0.5 - (left, top)) * TILE / side).round().astype(np.int32)
            cv2.polylines(tile, [points], True, (255, 220, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)


def sheet(pictures: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """The best ten on the left, the worst ten on the right, by what the answer gains over the geometric one."""
    ranked = sorted(pictures, key=lambda p: -p[0])
    sides = []
    for chosen in (ranked[:SHOWN], ranked[::-1][:SHOWN]):
        for gain, picture in chosen:
            place, font = (4, 14), cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(picture, f"{100 * gain:+.0f}", place, font, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(picture, f"{100 * gain:+.0f}", place, font, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        sides.append(np.concatenate([picture for _, picture in chosen]))
    tallest = max(len(side) for side in sides)
    return np.concatenate([np.pad(s, ((0, tallest - len(s)), (0, 8), (0, 0))) for s in sides], axis=1)


def report(name: str, found: Sequence[Row]) -> None:
    for label, (above, up_to) in BINS.items():
        some = [row for row in found if above < row.occlusion <= up_to]
        if not some:
            continue
        values = np.array([[getattr(row, column) for column in COLUMNS] for row in some])
        gain = values[:, 3] - values[:, 2]
        _, source = np.unique([row.source for row in some], return_inverse=True)
        low, high = interval(bootstrap_means(gain[:, None], source)[:, 0])
        held = [row.held for row in some if not math.isnan(row.held) and row.hidden <= HIDDEN[1]]
        cells = [f"{100 * value:.1f}" for value in values.mean(0)]
        difference = f"{100 * gain.mean():+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        share = f"{100 * np.mean(held):.0f} % ({len(held)})" if held and label != "whole" else "-"
        area = f"{np.median([row.area for row in some]):.1f}"
        print("|", " | ".join((name, label, str(len(some)), *cells[:4], difference, cells[4], share, area)), "|")
    if len(found) >= 20:
        expected, actual = (np.array([getattr(row, what) for row in found]) for what in ("expected", "answer"))
        largest, by_chance = gap(expected, actual)
        off = expected.mean() - actual.mean()
        print(f"{name}: n = {len(found)}, largest gap {largest:.3f}, {by_chance:.3f} by chance, mean {off:+.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--coco-a", type=Path, metavar="DIR")
    parser.add_argument("--streets", choices=("test", "test-unseen"), nargs="*", default=[])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="ten best and ten worst photographs, `instances`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every object")
    args = parser.parse_args()
    pipeline = AmodalPipeline.from_pretrained(args.model)
    sets: list[tuple[str, Dataset, tuple[str, ...]]] = [
        (folder.name, Folder(folder), ("instances", "any")) for folder in args.folder
    ]
    if args.coco_a:
        sets.append((args.coco_a.name, CocoA(args.coco_a), ("instances", "any")))
    sets += [(f"streets {split}", StreetsSplit(split), ("instances",)) for split in args.streets]
    pictures: list[tuple[float, np.ndarray]] = []
    everything = {}
    print("| input | occlusion | n |", " | ".join(COLUMNS[:4]), "| answer - geometric | expected | held (n) | area |")
    for name, dataset, modes in sets:
        for mode in modes:
            real = mode == "instances" and not isinstance(dataset, StreetsSplit)
            found = list(rows(dataset, pipeline, mode, pictures if real else []))
            report(f"{name} `{mode}`", found)
            everything[f"{name} {mode}"] = [asdict(row) for row in found]
    if args.sheet and pictures:
        cv2.imwrite(str(args.sheet), sheet(pictures)[..., ::-1])
    if args.json:
        args.json.write_text(json.dumps(everything) + "\n")


if __name__ == "__main__":
    main()
