"""Streams that go wrong, through the live session with its worker: answered, bounded in time and in memory?

    python benchmarks/live_stress.py --json benchmarks/live_stress.json

The model is a stand-in that takes its time and returns a little more than the visible mask; what is measured is the
session. Times are given on the clock and, for busy machines, of the processor. Accuracy stands beside the bounded
hull's where the truth is known: memory that followed a wrong id would pull it below.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.lab.datasets.streets import TEST_SEEDS, StreetFrame, sequence
from amodal_ros.live.session import LiveSession
from amodal_ros.scene import Completion, Instance, MaskRegion, Scene, Source

sys.path.append(str(Path(__file__).parent))  # `./env` keeps a script's folder out
from scene import FRAME, crowd

INTERVAL = 100_000_000  # nanoseconds
Stream = Iterator[tuple[Scene, dict[int, MaskRegion]]]


class StandIn:
    """Takes its time, then guesses that an object goes on for a fifth of its size under what can hide it."""

    name = "stand-in"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def complete(self, scene, *, which, should_stop, **_) -> list[Completion]:
        time.sleep(self._seconds)
        results = []
        for i in which:
            mask = scene.masks[i]
            grown = mask.grow(max(1, int(0.1 * mask.area**0.5)))
            amodal = (mask | (grown & scene.feasible(i, grown.box))).connected_to(mask)
            results.append(Completion(mask, amodal, scene.shape, Source.INFERRED))
        return results


def drive(frames: Sequence[StreetFrame], noise: int = 0) -> Stream:
    for frame in frames:
        truth = {thing.id: thing.amodal for thing in frame.objects}
        yield Scene(frame.image, frame.instances("things", noise), stamp=frame.stamp), truth


def stalled(frames: Sequence[StreetFrame]) -> Stream:
    """The same image again and again; the clock goes on for the first half and stands still for the second."""
    frame, truth = next(drive(frames[len(frames) // 2 :]))
    for k in range(len(frames)):
        yield frame.replace(stamp=frame.stamp + min(k, len(frames) // 2) * INTERVAL), truth


def renamed(frames: Sequence[StreetFrame], name: Callable[[int, int], int]) -> Stream:
    """`name(frame number, id)` is the id that the tracker gives instead."""
    for k, (frame, truth) in enumerate(drive(frames)):
        instances = tuple(replace(i, id=name(k, i.id)) for i in frame.things)
        yield frame.replace(things=instances), {name(k, i): mask for i, mask in truth.items()}


def reused(frames: Sequence[StreetFrame]) -> Stream:
    """Every second all ids go round to the next object."""
    count = 1 + max(o.id for f in frames for o in f.objects)
    return renamed(frames, lambda k, i: 1 + (i + k // 10) % count)


def swapped(frames: Sequence[StreetFrame]) -> Stream:
    """Every half second neighbours by id swap them, and swap them back."""
    return renamed(frames, lambda k, i: 1 + ((i - 1) ^ (k // 5 % 2)))


def new_ids(frames: Sequence[StreetFrame]) -> Stream:
    """A tracker that never finds an object again."""
    return renamed(frames, lambda k, i: 1 + i + 1000 * k)


def leaving(frames: Sequence[StreetFrame]) -> Stream:
    """Every object is lost for half a second out of two."""
    for k, (frame, truth) in enumerate(drive(frames)):
        yield frame.replace(things=[i for i in frame.things if (k + 7 * i.id) % 20 >= 5]), truth


def looping(frames: Sequence[StreetFrame]) -> Stream:
    """A bag of a third of the length, three times over."""
    for _ in range(3):
        yield from drive(frames[: len(frames) // 3])


def crowded(count: int, frames: int) -> Stream:
    """Many objects that touch each other and all drift to the right, over a textured image that drifts along."""
    rng = np.random.default_rng(count)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (*FRAME, 3)).astype(np.uint8), (0, 0), 2)
    masks = crowd(count, rng)
    for k in range(frames):
        here = ((n, mask.shift(2 * k, 0).clip(*FRAME).trim()) for n, mask in enumerate(masks, 1))
        instances = tuple(Instance(n, mask) for n, mask in here if mask.area)
        yield Scene(np.roll(texture, 2 * k, axis=1), instances, stamp=k * INTERVAL), {}


def run(stream: Stream, seconds: float) -> dict[str, float | int]:
    """Answers a stream back to back while the worker is busy."""
    session = LiveSession(StandIn(seconds))
    session.start()
    took, worked, tracks, memory, ious, hulls, objects = [], [], 0, 0.0, [], [], []
    for frame, truth in stream:
        started, processor = time.perf_counter(), time.thread_time()
        answers = session.answer(frame)
        worked.append(1e3 * (time.thread_time() - processor))
        took.append(1e3 * (time.perf_counter() - started))
        assert [a.instance for a in answers] == list(frame.things)
        figures = session.diagnostics()
        tracks, memory = max(tracks, figures["tracks"]), max(memory, figures["memory_mb"])
        objects.append(len(answers))
        for i, answer in enumerate(answers):
            if answer.instance.id in truth and answer.instance.visible.area >= 100:
                whole = truth[answer.instance.id].clip(*frame.shape)
                ious.append(answer.completion.amodal.clip(*frame.shape).iou(whole))
                hulls.append(frame.geometric(i).amodal.iou(whole))
    session.stop()
    p50, p95, most = np.percentile(took, (50, 95, 100)).round(1).tolist()
    result = {
        "frames": len(took),
        "objects": round(float(np.mean(objects)), 1),
        "answer_p50_ms": p50,
        "answer_p95_ms": p95,
        "answer_max_ms": most,
        "answer_cpu_p50_ms": round(float(np.median(worked)), 1),
        "answer_cpu_p95_ms": round(float(np.percentile(worked, 95)), 1),
        "tracks": tracks,
        "memory_mb": round(memory, 2),
        "identity_jumps": figures["identity_jumps"],
        "completions": figures["completions"],
    }
    if ious:
        result |= {"miou": round(float(np.mean(ious)), 4), "miou_hull": round(float(np.mean(hulls)), 4)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.3, help="that the stand-in takes per call")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    frames = list(sequence(TEST_SEEDS[-200], args.frames, objects=20))
    streams = {
        "drive": drive(frames),
        "stalled camera": stalled(frames),
        "50 objects": crowded(50, args.frames),
        "200 objects": crowded(200, args.frames),
        "ids reused": reused(frames),
        "ids swapped": swapped(frames),
        "new ids every frame": new_ids(frames),
        "flickering masks": drive(frames, noise=2),
        "leaving and returning": leaving(frames),
        "loop": looping(frames),
    }
    report = {}
    for name, stream in streams.items():
        report[name] = run(stream, args.seconds)
        print(f"{name:24}" + "  ".join(f"{key} {value}" for key, value in report[name].items()), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
