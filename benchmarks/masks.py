"""How long masks of each kind take from message to scene, with the messages' own Python classes.

    ./env python benchmarks/masks.py

20 ellipses at 1242x375, one behind another. The node's stage ``decode`` is this: image and masks to a `Scene`. And what
answers by geometry lose where a street's masks come as rings: mean IoU with the true whole objects.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

sys.path.append(str(Path(__file__).resolve().parents[1] / "test"))
import foreign_messages

from amodal_ros.lab.datasets import streets
from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.stream.frames import Frames
from amodal_ros.stream.parameters import Parameters

WIDTH, HEIGHT = 1242, 375
#: Objects of fewer visible pixels are left out.
LEAST = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--streets", type=int, default=20, help="frames whose answers are compared with the truth")
    args = parser.parse_args()
    foreign_messages.use(foreign_messages.build())
    accuracy(args.streets)
    drawn = ellipses(args.objects)
    borders = kinds(drawn)["yolo"][0]["instance_mask"].detections
    image = message(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), "rgb8")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; ")
    print(f"{WIDTH}x{HEIGHT}, {args.objects} objects, {args.frames} frames; milliseconds, wall clock and CPU")
    print(f"yolo: rings of {sum(len(detection.mask.data) for detection in borders)} points in all")
    print(f"{'kind':30s} {'p50':>7s} {'p95':>7s} {'CPU p50':>8s} {'CPU p95':>8s}")
    for kind, (masks, parameters) in kinds(drawn).items():
        frames, seconds = Frames(), []
        for k in range(args.frames):
            messages = {"image": image, **masks}
            began, began_cpu = time.perf_counter(), time.thread_time()
            scene = frames.scene(messages, k * 100_000_000, parameters)
            seconds.append((time.perf_counter() - began, time.thread_time() - began_cpu))
            assert len(scene.things) == args.objects
        (p50, cpu50), (p95, cpu95) = 1e3 * np.percentile(seconds[10:], [50, 95], axis=0)
        print(f"{kind:30s} {p50:7.2f} {p95:7.2f} {cpu50:8.2f} {cpu95:8.2f}")


def accuracy(count: int) -> None:
    """Synthetic streets, each kind's messages of the same masks."""
    ious: dict[str, list[float]] = {}
    visible: dict[str, list[float]] = {}
    for frame in streets.sequence(5, count):
        labels = np.zeros(frame.shape, np.uint16)
        truths = [o for o in frame.objects if o.labelled and o.visible.area >= LEAST]
        for k, truth in enumerate(truths, 1):
            x, y, width, height = truth.visible.box
            labels[y : y + height, x : x + width][truth.visible.bits] = k
        image = message(frame.image, "rgb8")
        for name, (masks, parameters) in kinds(labels).items() if truths else ():
            kind = name.split(",")[0]
            if "half" in name or "PNG" in name or ("tracked here" in name and kind == "ultralytics"):
                continue
            scene = Frames().scene({"image": image, **masks}, frame.stamp + 1, parameters)
            for answer in PlainAnswerer().answer(scene):
                mask = answer.completion.visible
                truth = max(truths, key=lambda truth: truth.visible.iou(mask))
                visible.setdefault(kind, []).append(truth.visible.iou(mask))
                ious.setdefault(kind, []).append(truth.amodal.iou(answer.completion.amodal))
    print(f"{'kind':14s} {'objects':>8s} {'visible IoU':>12s} {'amodal IoU':>11s}")
    for kind, values in ious.items():
        print(f"{kind:14s} {len(values):8d} {100 * np.mean(visible[kind]):12.2f} {100 * np.mean(values):11.2f}")


def ellipses(count: int) -> np.ndarray:
    """A label map of objects, the later ones in front."""
    labels, random = np.zeros((HEIGHT, WIDTH), np.uint16), np.random.default_rng(1)
    for k in range(count):
        centre = (int(WIDTH * (k + 0.5) / count), int(random.integers(120, 300)))
        cv2.ellipse(labels, centre, (int(random.integers(25, 60)), int(random.integers(25, 70))), 0, 0, 360, k + 1, -1)
    return labels


def kinds(labels: np.ndarray) -> dict[str, tuple[dict, Parameters]]:
    """The objects of a label map as every kind of message, by topic, and the parameters that go with it."""
    from autoware_internal_perception_msgs.msg import SegmentationMask
    from autoware_perception_msgs.msg import ObjectClassification
    from ultralytics_ros.msg import YoloResult
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesis, ObjectHypothesisWithPose
    from yolo_msgs.msg import Detection, DetectionArray, Mask, Point2D

    def ring(mask: np.ndarray) -> list:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        return [Point2D(x=float(x), y=float(y)) for x, y in max(contours, key=len)[:, 0]]

    ids = [int(value) for value in np.unique(labels) if value]
    car = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id="car", score=0.9))
    found = Detection2DArray(detections=[Detection2D(id=str(k), results=[car]) for k in ids])
    rings = {k: ring(labels == k) for k in ids}
    yolo = DetectionArray(
        detections=[
            Detection(id=str(k), class_name="car", score=0.9, mask=Mask(height=HEIGHT, width=WIDTH, data=rings[k]))
            for k in ids
        ]
    )
    nameless = Detection2DArray(detections=[Detection2D(results=[car]) for _ in ids])
    planes = [message(255 * (labels == k).astype(np.uint8), "mono8") for k in ids]
    png = CompressedImage(format="png", data=array("B", cv2.imencode(".png", labels)[1].tobytes()))
    small = cv2.resize(labels, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST)
    kinds = [ObjectClassification(label=1, probability=0.9)] * len(ids)
    positions = np.searchsorted([0, *ids], labels).astype(np.uint8)
    plain, never = Parameters(), Parameters(track="never")
    return {
        "labels": ({"instance_mask": message(labels, "16UC1")}, plain),
        "labels, PNG": ({"instance_mask": png}, plain),
        "labels, half the size": ({"instance_mask": message(small, "16UC1")}, plain),
        "yolo": ({"instance_mask": yolo}, plain),
        "ultralytics, untracked": ({"instance_mask": YoloResult(detections=nameless, masks=planes)}, never),
        "ultralytics, tracked here": ({"instance_mask": YoloResult(detections=nameless, masks=planes)}, plain),
        "detections": ({"instance_mask": message(labels, "16UC1"), "detections": found}, plain),
        "autoware, tracked here": (
            {"instance_mask": SegmentationMask(image=message(positions, "mono8"), classification=kinds)},
            plain,
        ),
    }


def message(pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    data = array("B", np.ascontiguousarray(pixels).tobytes())
    return Image(height=height, width=width, encoding=encoding, step=pixels.nbytes // height, data=data)


if __name__ == "__main__":
    main()
