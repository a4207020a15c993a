"""How many objects per second the work around the model allows: KINS-format annotations at KITTI size, no network.

    python benchmarks/evaluation.py [--frames 60]

Everything counts that an evaluation does: annotation decoding, image decoding, all baselines, the geometric answer,
overlaps, and writing one line per object to disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.kins import Kins
from amodal_ros.lab.evaluation.baselines import BASELINES
from amodal_ros.lab.evaluation.ours import Ours
from amodal_ros.lab.evaluation.runs import RunFolder, Selection, evaluate
from amodal_ros.scene import MaskRegion, Scene


class WithImage:
    """A method that reads the image and answers nothing new: makes a frame cost what it costs with a model."""

    name = "image"
    sees_neighbours = False
    settings: dict = {}  # noqa: RUF012

    def __call__(self, scene: Scene, which: Sequence[int]) -> list:
        assert scene.image.size
        return BASELINES[0](scene, which)


def polygons(mask: MaskRegion, shape: tuple[int, int]) -> list[list[float]]:
    """A mask's outlines as KINS' 2020 annotations have them."""
    full = np.ascontiguousarray(mask.full(*shape)).view(np.uint8)
    outlines, _ = cv2.findContours(full, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    return [outline.ravel().astype(float).tolist() for outline in outlines if len(outline) >= 3]


def write_kins(root: Path, frames: int) -> None:
    """Street scenes in KINS' layout."""
    images, annotations = [], []
    (root / "testing" / "image_2").mkdir(parents=True)
    for seed in range(frames):
        frame = streets.scene(seed)
        name = f"{seed:06d}.png"
        cv2.imwrite(str(root / "testing" / "image_2" / name), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        images.append({"id": seed, "file_name": name, "width": frame.shape[1], "height": frame.shape[0]})
        for thing in frame.objects:
            whole, seen = polygons(thing.amodal, frame.shape), polygons(thing.visible, frame.shape)
            if thing.labelled and whole:
                number = len(annotations)
                both = {"a_segm": whole, "i_segm": seen}
                annotations.append({"id": number, "image_id": seed, "category_id": 4, **both})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 4, "name": "car"}]}
    (root / "update_test_2020.json").write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    frames = parser.parse_args().frames
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_kins(root, frames)
        methods = [*BASELINES, WithImage(), Ours("ours", None, {})]
        started, cpu = time.perf_counter(), time.process_time()
        dataset = Kins(root)
        selection = Selection()
        run = RunFolder(root / "run", {"dataset": dataset.name})
        for results in evaluate(dataset, methods, selection.frames(dataset), selection):
            run.add(results, methods, masks=False)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    height, width = streets.KITTI_SIZE
    print(f"{platform.processor() or platform.machine()}, one process, {frames} frames of {width}x{height}")
    count = len(run.records)
    print(f"{count} objects in {seconds:.2f} s: {count / seconds:.0f} objects/s")
    print(f"CPU time {cpu:.2f} s: {count / cpu:.0f} objects/s on an idle core")
    per_method = {m.name: sum(r.seconds[m.name] for r in run.records) / len(run.records) for m in methods}
    print("milliseconds per object: " + ", ".join(f"{name} {1000 * s:.2f}" for name, s in per_method.items()))


if __name__ == "__main__":
    main()
