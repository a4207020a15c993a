"""Who is who without ids: identities kept by a plain tracker of masks and by the remembered whole shapes.

    ./env python benchmarks/identities.py [--kitti ../shared/data/kitti_drive] [--drives 8]

Drives whose ids are taken away, at 10 Hz: synthetic streets with their true visible masks, and a folder of images and
label maps. "Connected": the same, with the connected parts of every class for masks, so that what touches is one. The
whole shapes are those that the node remembers without a model (`live_budget: 0.0`). Where the package `trackers` is
installed its ByteTrack, on the masks' boxes, is measured beside them.

An object has the id of the mask that overlaps it most. IDF1: the F1 of identities under the best one-to-one assignment
of ids to objects over a whole drive (Ristani et al., 2016). A switch: an object has another id than when it was last
seen. Merged: images of an object that shares its id. Cut: masks that were taken for several objects'.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import networkx
import numpy as np

from amodal_ros.io import cut_labels, read_image, read_labels
from amodal_ros.lab.datasets import streets
from amodal_ros.live.identity import Identities
from amodal_ros.live.session import LiveSession
from amodal_ros.scene import Instance, MaskRegion, Scene

SECOND = 1_000_000_000
#: Objects with fewer visible pixels are left out: a segmenter does not find them.
LEAST = 50


class Shot(NamedTuple):
    """An image, its objects with their true ids, and the masks of them that a tracker is given."""

    stamp: int
    image: np.ndarray
    truths: list[Instance]
    given: list[Instance]


#: (id, mask) of each given mask, id < 1: nobody yet; and the seconds that finding them took.
Tracker = Callable[[Shot], tuple[list[list[tuple[int, MaskRegion]]], float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, default=Path("../shared/data/kitti_drive"))
    parser.add_argument("--drives", type=int, default=8)
    parser.add_argument("--frames", type=int, default=60)
    args = parser.parse_args()
    drives = {"streets": [street(1000 + k, args.frames) for k in range(args.drives)]}
    if (args.kitti / "images").is_dir():
        drives[args.kitti.name] = [folder(args.kitti)]
    figures_of = ("objects", "IDF1", "switches", "merged", "cut", "ms p50")
    print(f"{'drive':24s} {'tracker':26s}" + "".join(f"{figure:>9s}" for figure in figures_of))
    whole = {name: [list(drive) for drive in many] for name, many in drives.items()}
    parts = {f"{name}, connected": [list(map(connected, drive)) for drive in many] for name, many in whole.items()}
    for name, shots in {**whole, **parts}.items():
        for label, make in trackers().items():
            figures: Counter = Counter()
            seconds: list[float] = []
            for drive in shots:
                figures += Counter(judge(drive, make(), seconds))
            idf1 = 2 * figures["matched"] / max(1, figures["truths"] + figures["found"])
            print(
                f"{name:24s} {label:26s}{figures['truths']:9d}{100 * idf1:9.1f}{figures['switches']:9d}"
                f"{figures['merged']:9d}{figures['cut']:9d}{1e3 * np.median(seconds):9.1f}",
                flush=True,
            )


def street(seed: int, frames: int) -> Iterator[Shot]:
    for frame in streets.sequence(seed, frames=frames):
        objects = [i for i in frame.instances() if i.visible.area >= LEAST]
        yield Shot(frame.stamp + SECOND, frame.image, objects, objects)


def folder(path: Path) -> Iterator[Shot]:
    """Images and label maps of one name, 0.1 s apart; without the first of no object."""
    begun = False
    for k, image in enumerate(sorted((path / "images").iterdir())):
        labels = read_labels(path / "labels" / f"{image.stem}.png")
        objects = [i for i in cut_labels(labels).instances if i.visible.area >= LEAST]
        begun = begun or bool(objects)
        if begun:
            named = [Instance(i.id, i.visible, str(i.id // 1000)) for i in objects]
            yield Shot((k + 1) * SECOND // 10, read_image(image), named, named)


def connected(shot: Shot) -> Shot:
    """With the connected parts of every class for masks."""
    given = []
    for name in sorted({truth.class_id for truth in shot.truths}):
        union = MaskRegion.union_of([truth.visible for truth in shot.truths if truth.class_id == name])
        count, parts = cv2.connectedComponents(np.ascontiguousarray(union.bits).view(np.uint8), connectivity=8)
        regions = [MaskRegion.from_full(parts == k, union.x, union.y) for k in range(1, count)]
        given += [Instance(0, region, name) for region in regions if region.area >= LEAST]
    return shot._replace(given=given)


def trackers() -> dict[str, Callable[[], Tracker]]:
    found: dict[str, Callable[[], Tracker]] = {"visible masks": plain, "whole shapes (ours)": ours}
    try:
        import trackers as _  # noqa: F401
    except ImportError:
        return found
    return {"trackers: ByteTrack, boxes": byte_track, **found}


def plain() -> Tracker:
    identities = Identities(wholes=False)

    def track(shot: Shot) -> tuple[list[list[tuple[int, MaskRegion]]], float]:
        return _identify(identities, shot)

    return track


def ours() -> Tracker:
    identities, session = Identities(), LiveSession(SimpleNamespace(name="memory"), budget=0.0)  # type: ignore[arg-type]

    def track(shot: Shot) -> tuple[list[list[tuple[int, MaskRegion]]], float]:
        found, seconds = _identify(identities, shot)
        pieces: dict[int, list[MaskRegion]] = {}
        for id, mask in chain.from_iterable(found):
            pieces.setdefault(id, []).append(mask)
        things = [Instance(id, MaskRegion.union_of(masks)) for id, masks in sorted(pieces.items())]
        answers = session.answer(Scene(shot.image, things, stamp=shot.stamp))
        identities.learn({a.instance.id: a.completion.amodal for a in answers})
        return found, seconds

    return track


def _identify(identities: Identities, shot: Shot) -> tuple[list[list[tuple[int, MaskRegion]]], float]:
    masks, classes = [o.visible for o in shot.given], [o.class_id for o in shot.given]
    began = time.perf_counter()
    found = identities.identify(shot.stamp, shot.image, masks, classes)
    return found, time.perf_counter() - began


def byte_track() -> Tracker:
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=10.0)

    def track(shot: Shot) -> tuple[list[list[tuple[int, MaskRegion]]], float]:
        objects = shot.given
        sides = [(x, y, x + w, y + h) for x, y, w, h in (o.visible.box for o in objects)]
        boxes = np.array(sides, float).reshape(-1, 4)
        found = supervision.Detections(boxes, confidence=np.ones(len(boxes)), class_id=np.zeros(len(boxes), int))
        found.data["position"] = np.arange(len(boxes))
        began = time.perf_counter()
        result = tracker.update(found)
        took = time.perf_counter() - began
        ids = [-1 - k for k in range(len(objects))]  # not yet confirmed: nobody
        for position, id in zip(result.data.get("position", []), result.tracker_id if len(result) else []):
            if id >= 0:
                ids[int(position)] = int(id) + 1
        return [[(id, o.visible)] for id, o in zip(ids, objects)], took

    return track


def judge(drive: Sequence[Shot], track: Tracker, seconds: list[float]) -> dict[str, int]:
    """Counts over one drive."""
    together: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    truths = found = switches = merged = cut = 0
    for shot in drive:
        owners, took = track(shot)
        if owners:
            seconds.append(took)
        cut += sum(len(parts) > 1 for parts in owners)
        masks = list(chain.from_iterable(owners))
        ids = [max(masks, key=lambda one: one[1].iou(thing.visible))[0] if masks else -1 for thing in shot.truths]
        truths += len(ids)
        found += sum(id > 0 for id in ids)
        shared = Counter(ids)
        for id, thing in zip(ids, shot.truths):
            merged += shared[id] > 1
            if id > 0:
                switches += last.get(thing.id, id) != id
                last[thing.id] = id
                together[thing.id, id] += 1
    graph = networkx.Graph()
    for (truth, id), count in together.items():
        graph.add_edge(("truth", truth), ("id", id), weight=count)
    matched = sum(graph.edges[edge]["weight"] for edge in networkx.max_weight_matching(graph))
    return {
        **{"truths": truths, "found": found, "matched": matched},
        **{"switches": switches, "merged": merged, "cut": cut},
    }


if __name__ == "__main__":
    main()
