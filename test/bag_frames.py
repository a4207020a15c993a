"""A tiny scene with exact truth for the bag tests: a post in front of a wide board, both moving to the right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from amodal_ros.lab.bags.make import BagFrame, Truth
from amodal_ros.scene import MaskRegion

HEIGHT, WIDTH = 24, 40
BOARD, POST = 300, 7  # ids; the board's needs 16 bits


def scene(count: int = 3) -> list[BagFrame]:
    """Frames of 40x24: the board is 20x8 pixels, the post hides 4 of its columns. It also stands apart above."""
    rng = np.random.default_rng(0)
    frames = []
    for t in range(count):
        board = MaskRegion(4 + t, 8, np.ones((8, 20), bool))
        post = MaskRegion(10 + t, 4, np.ones((16, 4), bool))
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        for region, value in ((board, BOARD), (post, POST)):
            labels[region.window(0, 0, WIDTH, HEIGHT)] = value
        image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        truth = (Truth(BOARD, board, "board"), Truth(POST, post, "post"))
        frames.append(BagFrame(image, labels, truth, name=f"frame {t}"))
    return frames


def save_folder(folder: Path, frames: list[BagFrame]) -> Path:
    """The frames as a folder: images/, labels/ (16-bit PNG) and truth/."""
    for part in ("images", "labels", "truth"):
        (folder / part).mkdir(parents=True)
    for t, frame in enumerate(frames):
        name = f"{t:04}"
        cv2.imwrite(str(folder / "images" / f"{name}.png"), frame.image[..., ::-1])
        cv2.imwrite(str(folder / "labels" / f"{name}.png"), frame.labels)
        (folder / "truth" / name).mkdir()
        for truth in frame.truth:
            mask = truth.amodal.window(0, 0, WIDTH, HEIGHT)
            cv2.imwrite(str(folder / "truth" / name / f"{truth.id}.png"), 255 * mask.astype(np.uint8))
    return folder
