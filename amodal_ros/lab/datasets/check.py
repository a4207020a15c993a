"""`amodal datasets check`: does a data set on disk hold what its format promises?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.lab.datasets.base import Dataset, DatasetError, DatasetObject, Sample

#: Hidden share, ten bins.
HISTOGRAM_EDGES = np.linspace(0, 1, 11)
#: One picture of the contact sheet, pixels.
TILE = 192
_COLUMNS = 6


@dataclass
class Report:
    """What a check found.

    Attributes:
        dataset, protocol: what was checked.
        frames, objects: how many were readable.
        wholly_hidden: objects without any visible pixel: legal, but not evaluated.
        context: labelled things that are only context.
        outside: objects whose visible mask sticks out of the amodal one by more than `OUTSIDE` of its pixels.
        wrong_rate: objects whose stated occlusion rate differs from their masks' by more than 0.02.
        classes: objects per class.
        histogram: objects per tenth of occlusion; unoccluded ones apart.
        unoccluded: objects with rate 0.
        problems: messages of everything unreadable.
    """

    dataset: str
    protocol: str
    frames: int = 0
    objects: int = 0
    wholly_hidden: int = 0
    context: int = 0
    outside: int = 0
    wrong_rate: int = 0
    unoccluded: int = 0
    classes: Counter = field(default_factory=Counter)
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(10, int))
    problems: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people."""
        lines = [
            f"{self.dataset}: {self.protocol}",
            f"  frames {self.frames}, objects {self.objects}, context masks {self.context}",
            f"  wholly hidden {self.wholly_hidden} (not evaluated)",
            f"  visible mask outside the amodal one {self.outside}, stated rate unlike the masks' {self.wrong_rate}",
            f"  unreadable {len(self.problems)}",
            *(f"    {problem}" for problem in self.problems[:20]),
        ]
        if len(self.problems) > 20:
            lines.append(f"    and {len(self.problems) - 20} more")
        common = ", ".join(f"{name or '(none)'} {count}" for name, count in self.classes.most_common(12))
        lines += [f"  classes {len(self.classes)}: {common}", f"  occlusion rate: 0: {self.unoccluded}"]
        widest = max(1, self.histogram.max())
        for low, count in zip(HISTOGRAM_EDGES, self.histogram):
            lines.append(f"    ({low:.1f}, {low + 0.1:.1f}] {count:7d} {'#' * round(40 * count / widest)}".rstrip())
        return "\n".join(lines)


#: A visible mask may stick out of its amodal mask by this share: outlines are drawn by hand.
OUTSIDE = 0.01


def check(
    dataset: Dataset, limit: int | None = None, images: bool = True, pictures: int = 0
) -> tuple[Report, np.ndarray]:
    """Read everything once.

    Args:
        dataset: opened with `skip_bad`, or the first bad item stops the check.
        limit: only the first so many frames.
        images: decode every image too; finds half-downloaded ones.
        pictures: how many random objects the contact sheet shows.

    Returns:
        The report, and the contact sheet: RGB uint8, empty without pictures.
    """
    report = Report(dataset.name, dataset.protocol)
    rng = np.random.default_rng(0)
    tiles: list[np.ndarray] = []
    shown = 0  # objects that could have been in the sheet so far (reservoir sampling: one pass, few in memory)
    for frame_id in dataset.frames[:limit]:
        sample = dataset.try_sample(frame_id)
        if sample is None:
            continue
        report.frames += 1
        report.context += len(sample.context)
        for target in sample.objects:
            _count(report, target, sample)
        if not (images or pictures):
            continue
        try:
            image = sample.read_image()
        except DatasetError as error:
            dataset.report(error)
            continue
        for target in sample.objects if pictures else ():
            shown += 1
            place = len(tiles) if len(tiles) < pictures else int(rng.integers(shown))
            if place < pictures:
                tiles[place : place + 1] = [picture(image, target)]
    report.problems = dataset.bad
    return report, contact_sheet(tiles)


def _count(report: Report, target: DatasetObject, sample: Sample) -> None:
    report.objects += 1
    report.classes[target.class_id] += 1
    report.wholly_hidden += not target.visible
    inside = target.amodal.clip(*sample.shape)
    both = target.visible.overlap(inside)
    report.outside += target.visible.area - both > OUTSIDE * target.visible.area
    measured = 1 - both / inside.area if inside.area else 1.0
    report.wrong_rate += abs(measured - target.occlusion) > 0.02
    if target.occlusion <= 0:
        report.unoccluded += 1
    else:
        report.histogram[min(9, int(np.ceil(target.occlusion * 10 - 1e-9)) - 1)] += 1


def picture(image: np.ndarray, target: DatasetObject) -> np.ndarray:
    """One object in its surroundings: visible part green, hidden part red; RGB uint8 (TILE, TILE, 3)."""
    x, y, w, h = target.amodal.trim().box
    side = int(1.3 * max(w, h, 16))
    left, top = x + w // 2 - side // 2, y + h // 2 - side // 2
    window = (left, top, side, side)
    crop = np.zeros((side, side, 3), np.uint8)
    x0, y0 = max(0, left), max(0, top)
    inside = image[y0 : max(y0, top + side), x0 : max(x0, left + side)]
    crop[y0 - top : y0 - top + inside.shape[0], x0 - left : x0 - left + inside.shape[1]] = inside
    for mask, colour in ((target.amodal - target.visible, (255, 40, 40)), (target.visible, (40, 220, 80))):
        bits = mask.window(*window)
        crop[bits] = (0.5 * crop[bits] + 0.5 * np.array(colour)).astype(np.uint8)
    tile = cv2.resize(crop, (TILE, TILE), interpolation=cv2.INTER_AREA)
    caption = f"{target.class_id[:18]} {100 * target.occlusion:.0f} %"
    cv2.putText(tile, caption, (4, TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, caption, (4, TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def contact_sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles in rows; RGB uint8 (height, width, 3)."""
    if not tiles:
        return np.zeros((0, 0, 3), np.uint8)
    columns = min(_COLUMNS, len(tiles))
    blank = [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    padded = [*tiles, *blank]
    return np.vstack([np.hstack(padded[k : k + columns]) for k in range(0, len(padded), columns)])


def save_sheet(sheet: np.ndarray, file: Path) -> None:
    """Write a contact sheet. Raises OSError when the file cannot be written."""
    if not cv2.imwrite(str(file), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{file}: cannot write the contact sheet")
