"""Street crops drawn once and kept in memory-mapped files: drawing one costs more than a training step spends on it."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from amodal_ros.datasets.streets import TRAIN_SEEDS, crop_sample

CHUNK = 250  # crops drawn from one seed
ALONE_SHARE = 0.5


@dataclass(frozen=True)
class Pool:
    """N crops of side S: street crops, and whole objects before a plain background.

    Attributes:
        images: (N, S, S, 3) uint8, RGB.
        labels: (N, S, S) uint8, visible instances 1, 2, ...; 0 where there is none.
        alone: (N,) bool, the crop shows instance 1 whole and nothing else.
    """

    images: np.ndarray
    labels: np.ndarray
    alone: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def open(cls, folder: Path) -> Pool:
        """The pool that `draw_pool` left in `folder`."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels", "alone")))


def draw_pool(folder: Path, count: int, resolution: int) -> Pool:
    """Draw `count` crops (rounded up to whole chunks) into `folder`; goes on where an earlier call was interrupted."""
    chunks = -(-count // CHUNK)
    done_file = folder / f"done-{chunks}-{resolution}.txt"
    if not done_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (chunks * CHUNK, resolution, resolution)
        open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
        open_memmap(folder / "labels.npy", "w+", np.uint8, shape)
        open_memmap(folder / "alone.npy", "w+", bool, shape[:1])
        done_file.touch()
    done = {int(line) for line in done_file.read_text().split()}
    missing = [chunk for chunk in range(chunks) if chunk not in done]
    with (
        # Spawned: a fork of a process whose OpenCV has started its threads never returns from setNumThreads.
        ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), cv2.setNumThreads, (1,)) as workers,
        open(done_file, "a") as record,
        tqdm(total=len(missing) * CHUNK, desc="street crops") as bar,
    ):
        for chunk in workers.map(partial(_draw_chunk, folder, resolution, CHUNK), missing):
            record.write(f"{chunk}\n")
            record.flush()
            bar.update(CHUNK)
    return Pool.open(folder)


def _draw_chunk(folder: Path, resolution: int, size: int, chunk: int) -> int:
    images, labels, alone = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("images", "labels", "alone"))
    rng = np.random.default_rng(TRAIN_SEEDS[chunk])
    for n in range(chunk * size, (chunk + 1) * size):
        alone[n] = rng.random() < ALONE_SHARE
        images[n], ids, _ = crop_sample(rng, resolution, alone=bool(alone[n]))
        labels[n] = ids.clip(max=255)
    return chunk
