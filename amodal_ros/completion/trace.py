"""What the method did on the way to one mask: how people understand and debug it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.completion.judge import Verdict


@dataclass
class Trace:
    """One object's way through section 4, in crop pixels.

    Attributes:
        crop: where the crop lies in the frame.
        image: I, uint8 (r, r, 3).
        visible: V, bool (r, r).
        condition: x of Eq. 8, uint8 (r, r, 3).
        area: M of Eq. 10, bool (r, r).
        feasible: F, bool (r, r).
        steps: some denoising steps as (number, the model's guess of the clean image, uint8 (r, r, 3)).
        painted: the inpainted image, uint8 (r, r, 3).
        points: what prompted the segmenter, (n, 2) as (x, y).
        labels: 1 on the object, 0 off it, (n,).
        candidates: the segmenter's masks, bool (k, r, r).
        predicted: its own predicted IoU of each, (k,).
        scores: their agreement with the known pixels, (k,).
        chosen: which candidate was taken.
        amodal: the answer, bool (r, r).
        verdict: how it was chosen.
    """

    crop: ObjectCrop
    image: np.ndarray
    visible: np.ndarray
    condition: np.ndarray
    area: np.ndarray
    feasible: np.ndarray
    steps: list[tuple[int, np.ndarray]] = field(default_factory=list)
    painted: np.ndarray | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    candidates: np.ndarray | None = None
    predicted: np.ndarray | None = None
    scores: np.ndarray | None = None
    chosen: int = 0
    amodal: np.ndarray | None = None
    verdict: Verdict | None = None


def draw_trace(trace: Trace, tile: int = 192, truth: np.ndarray | None = None) -> np.ndarray:
    """The whole way in one figure, uint8 RGB.

    Args:
        tile: side of one picture in pixels.
        truth: optional amodal truth in crop pixels, bool (r, r), drawn beside the answer.
    """
    pictures = [
        ("image, visible mask", _outlined(trace.image, trace.visible, (255, 220, 0))),
        ("condition image x", trace.condition),
        ("area M", _tinted(trace.image, trace.area, (80, 160, 255))),
        ("feasible F", _tinted(trace.image, trace.feasible, (255, 120, 80))),
    ]
    pictures += [(f"after step {number + 1}", picture) for number, picture in trace.steps]
    if trace.painted is not None:
        painted = trace.painted.copy()
        for (x, y), label in zip(
            trace.points if trace.points is not None else (), trace.labels if trace.labels is not None else ()
        ):
            _dot(painted, int(x), int(y), (60, 220, 60) if label else (230, 60, 60))
        pictures.append(("painted, points", painted))
    for k, candidate in enumerate(trace.candidates if trace.candidates is not None else ()):
        assert trace.scores is not None and trace.predicted is not None and trace.painted is not None
        mark = " *" if k == trace.chosen else ""
        name = f"mask {k + 1}{mark} {trace.scores[k]:.2f} / {trace.predicted[k]:.2f}"
        pictures.append((name, _tinted(trace.painted, candidate, (80, 220, 120))))
    if trace.amodal is not None:
        pictures.append(
            ("amodal mask", _tinted(_outlined(trace.image, trace.visible, (255, 220, 0)), trace.amodal, (80, 220, 120)))
        )
    if truth is not None:
        pictures.append(("truth", _tinted(trace.image, truth, (200, 120, 255))))
    return _sheet(pictures, tile)


def _outlined(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    out = np.ascontiguousarray(image.copy())
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, contours, -1, colour, max(1, image.shape[0] // 128))
    return out


def _tinted(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    out = image.astype(np.float32)
    out[~mask] *= 0.55
    out[mask] = 0.55 * out[mask] + 0.45 * np.array(colour, np.float32)
    return out.astype(np.uint8)


def _dot(image: np.ndarray, x: int, y: int, colour: tuple[int, int, int]) -> None:
    radius = max(1, image.shape[0] // 100)
    cv2.circle(image, (x, y), radius + 1, (255, 255, 255), -1)
    cv2.circle(image, (x, y), radius, colour, -1)


def _sheet(pictures: list[tuple[str, np.ndarray]], tile: int, columns: int = 6) -> np.ndarray:
    title, gap = 22, 6
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    sheet = np.full((rows * (tile + title + gap) + gap, columns * (tile + gap) + gap, 3), 250, np.uint8)
    for k, (name, picture) in enumerate(pictures):
        y = gap + k // columns * (tile + title + gap)
        x = gap + k % columns * (tile + gap)
        cv2.putText(sheet, name, (x + 2, y + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
        interpolation = cv2.INTER_AREA if picture.shape[0] > tile else cv2.INTER_NEAREST
        sheet[y + title : y + title + tile, x : x + tile] = cv2.resize(
            picture, (tile, tile), interpolation=interpolation
        )
    return sheet
