"""Overlays and a video of a replayed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from amodal_ros.lab.bags.files import BagReader
from amodal_ros.lab.bags.make import TRUTH_TOPIC
from amodal_ros.lab.bags.typed import answers_of
from amodal_ros.messages import nanoseconds
from amodal_ros.scene import Answer
from amodal_ros.scene.overlay import draw_overlay
from amodal_ros.stream.images import rgb_of

OVERLAYS = 6  # pictures, one from each sixth of the run


def write_overlays(bag: Path, image_topic: str, arrays: dict[int, Any], out: Path) -> list[Path]:
    """The answered frame that hides most in each part of the run, as ``overlay_1.png`` and so on.

    Args:
        arrays: AmodalInstanceArray by stamp of its image.
    """
    stamps, names = sorted(arrays), names_of(bag)
    parts = [part for part in np.array_split(np.array(stamps, np.int64), OVERLAYS) if part.size]
    chosen = {int(max(part, key=lambda stamp: _hidden(arrays[int(stamp)]))) for part in parts}
    paths: list[Path] = []
    for stamp, image in _images(bag, image_topic):
        if stamp in chosen:
            chosen.remove(stamp)  # a bag can hold a stamp twice
            paths.append(out / f"overlay_{len(paths) + 1}.png")
            cv2.imwrite(str(paths[-1]), draw_overlay(image, answers_of(arrays[stamp]), names=names)[..., ::-1])
    return paths


def write_video(bag: Path, image_topic: str, arrays: dict[int, Any], out: Path, rate: float) -> None:
    """Every image of the run with its answers; an image that was not answered shows none and says so."""
    writer, names = None, names_of(bag)
    try:
        for stamp, image in tqdm(_images(bag, image_topic), unit=" frames", leave=False):
            answers = answers_of(arrays[stamp]) if stamp in arrays else None
            picture = np.ascontiguousarray(_picture(image, answers, names)[..., ::-1])
            if writer is None:
                size = (picture.shape[1], picture.shape[0])
                writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                if not writer.isOpened():
                    raise OSError(f"{out}: this OpenCV cannot write mp4 videos")
            writer.write(picture)
    finally:
        if writer is not None:
            writer.release()


def names_of(bag: Path) -> dict[int, str]:
    """What the objects of a bag are called, by id: with their class where the truth in the bag knows it."""
    with BagReader(bag) as reader:
        if TRUTH_TOPIC not in reader.topics:
            return {}
        entries = (entry for record in reader.records([TRUTH_TOPIC]) for entry in record.message().instances)
        return {int(entry.id): f"{entry.id} {entry.class_id}" for entry in entries if entry.class_id}


def _picture(image: np.ndarray, answers: list[Answer] | None, names: dict[int, str]) -> np.ndarray:
    if answers is not None:
        return draw_overlay(image, answers, names=names)
    return draw_overlay(image, [], note="not answered")


def _images(bag: Path, topic: str) -> Iterator[tuple[int, np.ndarray]]:
    with BagReader(bag) as reader:
        for record in reader.records([topic]):
            message = record.message()
            yield nanoseconds(message.header.stamp), rgb_of(message)


def _hidden(array: Any) -> float:
    """How much there is to see: pixels that are not visible, inside the image."""
    return sum(
        answer.completion.amodal.clip(array.image_height, array.image_width).area - answer.completion.visible.area
        for answer in answers_of(array)
    )
