"""A drive through the node, once per kind of masks: what is sent, received and answered, and how right answers are.

    ./env python benchmarks/masks_drive.py [--only yolo]

The node is a process of its own whose user has set nothing, but `masks:=detections` where two topics make masks, and
has sourced the segmenter's messages. This process is camera and segmenter: a synthetic street at 10 Hz with its true
visible masks, as each segmenter publishes them.

IoU: of a published mask with that of the object that it overlaps most, in the image, mean over all; amodal masks are
from geometry and memory (`model:=geometric`). Ids: how many the answers have for the drive's objects. Decode: from
messages to a scene with ids, as the node measures it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path
sys.path.append(str(Path(__file__).resolve().parents[1] / "test"))

import foreign_messages
import masks
from fault_table import frames
from fault_table.robot import SECOND, START, Robot, pace
from fault_table.table import machine

from amodal_ros.lab.datasets import streets
from amodal_ros.messages import mask_to_region, nanoseconds
from amodal_ros.scene import MaskRegion

#: source -> (kind of `masks.kinds`, parameters of the node).
SOURCES = {
    "labels": ("labels", ()),
    "labels, PNG": ("labels, PNG", ()),
    "yolo": ("yolo", ()),
    "ultralytics": ("ultralytics, tracked here", ()),
    "detections": ("detections", ("masks:=detections",)),
    "autoware": ("autoware, tracked here", ()),
}

#: An image, its objects by id, and messages by source and topic.
Frame = tuple[np.ndarray, dict[int, Any], dict[str, dict[str, Any]]]


class Segmenter(Robot):
    """Sends the masks of one source."""

    def __init__(self, source: str, drive: list[Frame]) -> None:
        super().__init__()
        self._source, self._drive = source, drive

    def send(self, stamp: int, image: Any = None, labels: Any = None) -> None:
        """Publish the drive's frame of a stamp; before its start, the first one."""
        pixels, _, messages = self._drive[max(0, (stamp - START) * 10 // SECOND)]
        self.publish("/image", frames.image(stamp, pixels))
        for topic, message in messages[self._source].items():
            message.header = frames.header(stamp)
            self.publish(f"/{topic}", message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="sources whose names hold this text")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--objects", type=int, default=40, help="along the street")
    args = parser.parse_args()
    prefix = foreign_messages.build()
    foreign_messages.use(prefix)
    drive = [prepared(frame) for frame in streets.sequence(5, args.frames, objects=args.objects)]
    seen = [id for _, truths, _ in drive for id in truths]
    print(f"{machine()}\n{len(drive)} frames at 10 Hz, {len(seen)} masks of {len(set(seen))} objects")
    print("| source | sent | received | answered | lost, faults | IoU visible | IoU amodal | ids | decode, p50 / p95 |")
    print("|" + " --- |" * 9)
    for source in SOURCES:
        if args.only in source:
            print(driven(source, drive, foreign_messages.environment(prefix)), flush=True)


def prepared(frame: streets.StreetFrame) -> Frame:
    """A frame with the messages of every source."""
    labels = np.zeros(frame.shape, np.uint16)
    truths = {}
    for thing in frame.objects:
        if thing.labelled and thing.visible.area >= masks.LEAST:
            x, y, width, height = thing.visible.box
            labels[y : y + height, x : x + width][thing.visible.bits] = thing.id
            truths[thing.id] = thing
    made = masks.kinds(labels)
    return frame.image, truths, {source: made[kind][0] for source, (kind, _) in SOURCES.items()}


def driven(source: str, drive: list[Frame], env: dict[str, str]) -> str:
    """One line of the table."""
    stamps = [START + k * SECOND // 10 for k in range(len(drive))]
    with Segmenter(source, drive) as robot:
        robot.warm_up(robot.start(*SOURCES[source][1], env=env))
        before = counts(robot)
        for k in pace(len(stamps), 10.0):
            robot.send(stamps[k])
        answered = robot.answered(stamps)
        robot.wait_counted()
        after = counts(robot)
        timings = robot.status("answers")
        arrays = {nanoseconds(array.header.stamp): array for _, array in robot.answers}
    visible, amodal, ids = [], [], set()
    for stamp, (_, truths, _) in zip(stamps, drive):
        for instance in arrays[stamp].instances if stamp in arrays else ():
            mask = mask_to_region(instance.visible)
            truth = max(truths.values(), key=lambda truth: truth.visible.iou(mask))
            visible.append(truth.visible.iou(mask))
            amodal.append(inside(truth.amodal, drive).iou(inside(mask_to_region(instance.amodal), drive)))
            ids.add(instance.id)
    grown = {key: n - before.get(key, 0) for key, n in after.items()}
    faults = ", ".join(f"{n} {key}" for key, n in grown.items() if n and key not in ("received", "answered"))
    return (
        f"| {source} | {len(drive)} | {grown['received']} | {answered} | {faults or 'none'} "
        f"| {100 * np.mean(visible):.2f} | {100 * np.mean(amodal):.2f} | {len(ids)} "
        f"| {timings['decode.p50_ms']} / {timings['decode.p95_ms']} ms |"
    )


def counts(robot: Robot) -> dict[str, int]:
    """What the node has counted of images, and of masks that cannot be used."""
    inputs = robot.status("inputs")
    images = robot.wait_counted()
    lost = {key: int(n) for key, n in inputs.items() if ".flaws." in key or ".dropped." in key or key.endswith(".lost")}
    return {**{key: n for key, n in images.items() if key != "dropped"}, **lost}


def inside(region: MaskRegion, drive: list[Frame]) -> MaskRegion:
    """The part of a mask inside the image."""
    return region.clip(*drive[0][0].shape[:2])


if __name__ == "__main__":
    main()
