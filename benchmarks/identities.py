"""Who is who without ids: identities kept by a plain tracker of masks and by the remembered whole shapes.

    ./env python benchmarks/identities.py [--kitti ../shared/data/kitti_drive] [--drives 8]

Drives whose ids are taken away, at 10 Hz: synthetic streets with their true visible masks, and a folder of images and
label maps. The whole shapes are those that the node remembers without a model (`live_budget: 0.0`). Where the package
`trackers` is installed its ByteTrack, on the masks' boxes, is measured beside them.

IDF1: the F1 of identities under the best one-to-one assignment of ids to objects over a whole drive (Ristani et al.,
2016). A switch: an object has another id than when it was last seen. Merged: images of an object that shares its id.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import networkx
import numpy as np

from amodal_ros.io import cut_labels, read_image, read_labels
from amodal_ros.lab.datasets import streets
from amodal_ros.live.identity import Identities
from amodal_ros.live.session import LiveSession
from amodal_ros.scene import Instance, Scene

SECOND = 1_000_000_000
#: Objects with fewer visible pixels are left out: a segmenter does not find them.
LEAST = 50

Shot = tuple[int, np.ndarray, list[Instance]]
#: The ids of a shot's objects, and the seconds that finding them took.
Tracker = Callable[[Shot], tuple[list[int], float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kitti", type=Path, default=Path("../shared/data/kitti_drive"))
    parser.add_argument("--drives", type=int, default=8)
    parser.add_argument("--frames", type=int, default=60)
    args = parser.parse_args()
    drives = {"streets": [street(1000 + k, args.frames) for k in range(args.drives)]}
    if (args.kitti / "images").is_dir():
        drives[args.kitti.name] = [folder(args.kitti)]
    print(f"{'drive':14s} {'tracker':26s} {'objects':>8s} {'IDF1':>7s} {'switches':>9s} {'merged':>7s} {'ms p50':>7s}")
    for name, many in drives.items():
        shots = [list(drive) for drive in many]
        for label, make in trackers().items():
            figures: Counter = Counter()
            seconds: list[float] = []
            for drive in shots:
                figures += Counter(judge(drive, make(), seconds))
            idf1 = 2 * figures["matched"] / max(1, figures["truths"] + figures["found"])
            print(
                f"{name:14s} {label:26s} {figures['truths']:8d} {100 * idf1:7.1f} {figures['switches']:9d} "
                f"{figures['merged']:7d} {1e3 * np.median(seconds):7.1f}"
            )


def street(seed: int, frames: int) -> Iterator[Shot]:
    for frame in streets.sequence(seed, frames=frames):
        yield frame.stamp + SECOND, frame.image, [i for i in frame.instances() if i.visible.area >= LEAST]


def folder(path: Path) -> Iterator[Shot]:
    """Images and label maps of one name, 0.1 s apart; without the first of no object."""
    begun = False
    for k, image in enumerate(sorted((path / "images").iterdir())):
        labels = read_labels(path / "labels" / f"{image.stem}.png")
        objects = [i for i in cut_labels(labels).instances if i.visible.area >= LEAST]
        begun = begun or bool(objects)
        if begun:
            named = [Instance(i.id, i.visible, str(i.id // 1000)) for i in objects]
            yield (k + 1) * SECOND // 10, read_image(image), named


def trackers() -> dict[str, Callable[[], Tracker]]:
    found: dict[str, Callable[[], Tracker]] = {"visible masks": plain, "whole shapes (ours)": ours}
    try:
        import trackers as _  # noqa: F401
    except ImportError:
        return found
    return {"trackers: ByteTrack, boxes": byte_track, **found}


def plain() -> Tracker:
    identities = Identities(wholes=False)

    def track(shot: Shot) -> tuple[list[int], float]:
        return _identify(identities, shot)

    return track


def ours() -> Tracker:
    identities, session = Identities(), LiveSession(SimpleNamespace(name="memory"), budget=0.0)  # type: ignore[arg-type]

    def track(shot: Shot) -> tuple[list[int], float]:
        stamp, image, objects = shot
        ids, seconds = _identify(identities, shot)
        first = {id: o for id, o in zip(reversed(ids), reversed(objects))}
        scene = Scene(image, [Instance(id, o.visible, o.class_id) for id, o in sorted(first.items())], stamp=stamp)
        identities.learn({a.instance.id: a.completion.amodal for a in session.answer(scene)})
        return ids, seconds

    return track


def _identify(identities: Identities, shot: Shot) -> tuple[list[int], float]:
    stamp, image, objects = shot
    began = time.perf_counter()
    ids = identities.identify(stamp, image, [o.visible for o in objects], [o.class_id for o in objects])
    return ids, time.perf_counter() - began


def byte_track() -> Tracker:
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=10.0)

    def track(shot: Shot) -> tuple[list[int], float]:
        _, _, objects = shot
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (o.visible.box for o in objects)], float).reshape(
            -1, 4
        )
        found = supervision.Detections(boxes, confidence=np.ones(len(boxes)), class_id=np.zeros(len(boxes), int))
        found.data["position"] = np.arange(len(boxes))
        began = time.perf_counter()
        result = tracker.update(found)
        took = time.perf_counter() - began
        ids = [-1 - k for k in range(len(objects))]  # not yet confirmed: nobody
        for position, id in zip(result.data.get("position", []), result.tracker_id if len(result) else []):
            if id >= 0:
                ids[int(position)] = int(id) + 1
        return ids, took

    return track


def judge(drive: Sequence[Shot], track: Tracker, seconds: list[float]) -> dict[str, int]:
    """Counts over one drive."""
    together: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    truths = found = switches = merged = 0
    for shot in drive:
        ids, took = track(shot)
        if ids:
            seconds.append(took)
        truths += len(ids)
        found += sum(id > 0 for id in ids)
        shared = Counter(ids)
        for id, thing in zip(ids, shot[2]):
            merged += shared[id] > 1
            if id > 0:
                switches += last.get(thing.id, id) != id
                last[thing.id] = id
                together[thing.id, id] += 1
    graph = networkx.Graph()
    for (truth, id), count in together.items():
        graph.add_edge(("truth", truth), ("id", id), weight=count)
    matched = sum(graph.edges[edge]["weight"] for edge in networkx.max_weight_matching(graph))
    return {"truths": truths, "found": found, "switches": switches, "merged": merged, "matched": matched}


if __name__ == "__main__":
    main()
