"""Draws the pictures of README and docs: ``python benchmarks/pictures.py``.

One object's way through the method (trace.png), and the best and worst completions of a few frames beside the truth
(cases.png), of the frozen street list. README's first picture (overlay.png) is ``demo/overlay_5.png`` of ``make demo``:
what the running node answered, in its own time.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.completion import AmodalPipeline
from amodal_ros.completion.trace import draw_trace
from amodal_ros.lab.datasets.streets import test_frames
from amodal_ros.scene import Completion, MaskRegion, Source

OUT = Path(__file__).resolve().parents[1] / "docs" / "images"
FRAMES, CASES = 6, 4


def main() -> None:
    pipeline = AmodalPipeline.from_pretrained("embedded")
    judged: list[tuple[float, Completion, MaskRegion]] = []
    for frame, _ in islice(test_frames("test"), FRAMES):
        instances = frame.instances(labels="things")
        completions = pipeline.complete(frame.image, [i.visible for i in instances], trace=True)
        inferred = [(i, c) for i, c in zip(instances, completions) if c.source is Source.INFERRED]
        for instance, done in inferred:
            truth = frame.truth(instance.id)
            if truth.occlusion > 0.15 and done.visible.area > 600:
                judged.append((done.amodal.iou(truth.amodal) - done.visible.iou(truth.amodal), done, truth.amodal))
    judged.sort(key=lambda case: -case[0])
    _, done, truth = judged[0]
    cv2.imwrite(str(OUT / "trace.png"), draw_trace(done.trace, tile=160, truth=done.trace.crop.mask(truth))[..., ::-1])
    chosen = judged[:CASES] + judged[-CASES:]
    rows = [_strip(case, "best" if k < CASES else "worst") for k, case in enumerate(chosen)]
    sheet = np.concatenate([np.concatenate(rows[:CASES]), np.concatenate(rows[CASES:])], axis=1)
    cv2.imwrite(str(OUT / "cases.png"), sheet[..., ::-1])


def _strip(case: tuple[float, Completion, MaskRegion], word: str, tile: int = 96) -> np.ndarray:
    """Visible part, condition image, painted image, answer and truth of one case, side by side."""
    gain, done, truth = case
    trace = done.trace
    seen = trace.image.copy()
    seen[~trace.visible] //= 3
    pictures = [seen, trace.condition, trace.painted]
    for mask in (trace.amodal, trace.crop.mask(truth)):
        picture = trace.image.copy()
        picture[~mask] //= 3
        pictures.append(picture)
    strip = np.concatenate([cv2.resize(p, (tile, tile), interpolation=cv2.INTER_AREA) for p in pictures], axis=1)
    cv2.putText(strip, f"{word} {gain:+.2f}", (3, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (255, 255, 255), 1, cv2.LINE_AA)
    return strip


if __name__ == "__main__":
    main()
