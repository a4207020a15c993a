"""Is the model heard on a real drive? Sources of the live answers, and how near they are to the model's own.

    PYTHONPATH=. ./env python -m benchmarks.real_drive DRIVE [--last 60]

DRIVE: a folder as ``amodal bag make`` takes it. There is no truth: of the objects for which a completion of the very
image and the bounded hull differ (IoU below 0.85) it says whose the answer is, and its IoU with that completion.
Deterministic: so many completions per frame, which count from the next frame on, as those of a worker do.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np

from amodal_ros.lab.bags.sources import folder_frames
from amodal_ros.live.priority import Priority
from amodal_ros.live.session import LiveSession
from amodal_ros.live.track import PREFERENCE
from amodal_ros.live.tracks import Tracks
from amodal_ros.scene import Instance, MaskRegion, Scene, Source
from benchmarks.live import Shared, load

RATE = 10
#: (completions per frame, preference)
ROWS = ((0, PREFERENCE), (1, 0.0), (1, PREFERENCE), (1, 1.0), (2, PREFERENCE), (4, PREFERENCE))
SOURCES = (Source.UNOCCLUDED, Source.PROPAGATED, Source.REMEMBERED, Source.GEOMETRIC)
DIFFERS = 0.85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("drive", type=Path)
    parser.add_argument("--last", type=int, default=0, help="only so many of the last frames; 0: all")
    args = parser.parse_args()
    scenes = list(_scenes(args.drive))[-args.last :]
    pipeline = Shared(load("embedded"))
    contested: dict[int, dict[int, MaskRegion]] = {}  # stamp -> id -> completion of that image
    for scene in scenes:
        which = [i for i, m in enumerate(scene.masks) if m.area >= Priority.min_area and not scene.unoccluded(i)]
        done = {i: pipeline.complete(scene, which=[i], seed=0, on_error="raise")[0].amodal for i in which}
        differ = {i: shape for i, shape in done.items() if shape.iou(scene.geometric(i).amodal) < DIFFERS}
        contested[scene.stamp] = {scene.things[i].id: shape for i, shape in differ.items()}
    print(f"{len(scenes)} frames, {sum(map(len, contested.values()))} contested answers")
    print("per frame  preference", *(f"{source:>11}" for source in SOURCES), "  contested: the model's   IoU with it")
    for per_frame, preference in ROWS:
        session = LiveSession(pipeline, in_line=per_frame, late=True, tracks=Tracks(preference=preference))
        sources: Counter[Source] = Counter()
        theirs, near = [], []
        for scene in scenes:
            for answer in session.answer(scene):
                sources[answer.completion.source] += 1
                if (shape := contested[scene.stamp].get(answer.instance.id)) is not None:
                    theirs.append(answer.completion.source is Source.PROPAGATED)
                    near.append(answer.completion.amodal.iou(shape))
        told = " ".join(f"{sources[source]:>11}" for source in SOURCES)
        print(
            f"{per_frame:>9} {preference:>11.2f} {told} {100 * np.mean(theirs):>22.0f} % {100 * np.mean(near):>12.1f}"
        )


def _scenes(folder: Path):
    """The drive's images with their labelled things."""
    for stamp, frame in zip(count(0, 1_000_000_000 // RATE), folder_frames(folder)):
        ids = [int(value) for value in np.unique(frame.labels) if value]
        things = [Instance(value, MaskRegion.from_full(frame.labels == value).trim()) for value in ids]
        yield Scene(frame.image, things, stamp=stamp)


if __name__ == "__main__":
    main()
