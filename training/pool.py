"""Square crops around objects, prepared once and kept in memory-mapped files: drawing or cutting one costs more than a
training step spends on it. Every source of crops (`training.sources`) fills a pool of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from amodal_ros.lab.datasets.streets import TRAIN_SEEDS, crop_sample

CHUNK = 250  # street crops drawn from one seed
ALONE_SHARE = 0.7  # of them: one whole object before a plain background

Crop = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Pool:
    """N crops of side S. Instance 1 is what a crop is about: it takes half of the crop's side.

    Attributes:
        images: (N, S, S, 3) uint8, RGB.
        labels: (N, S, S) uint8, visible instances 1, 2, ...; 0 where there is none.
        whole: (N,) bool, instance 1 is seen whole.
    """

    images: np.ndarray
    labels: np.ndarray
    whole: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def open(cls, folder: Path) -> Pool:
        """The pool that `draw_streets` or `write_pool` left in `folder`."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels", "whole")))

    @cached_property
    def wholes(self) -> np.ndarray:
        """Positions of the crops whose instance 1 is seen whole."""
        return np.flatnonzero(self.whole)


class Pools:
    """Several pools, each drawn from with a share of its own."""

    def __init__(self, pools: Sequence[Pool], shares: Sequence[float]) -> None:
        self.pools = list(pools)
        self.shares = np.array(shares, float) / sum(shares)

    def __len__(self) -> int:
        return sum(map(len, self.pools))

    def crop(self, rng: np.random.Generator, whole: bool = False) -> Crop:
        """A random image (S, S, 3) uint8 and its labels (S, S) uint8; with `whole`, instance 1 is seen whole."""
        pool = self.pools[rng.choice(len(self.pools), p=self.shares)]
        n = int(rng.choice(pool.wholes) if whole else rng.integers(len(pool)))
        return np.array(pool.images[n]), np.array(pool.labels[n])


def write_pool(folder: Path, crops: Iterable[Crop]) -> Pool:
    """A pool of crops whose instance 1 is seen whole; they are held in memory until all are there.

    Raises:
        ValueError: there is none.
    """
    images, labels = zip(*crops, strict=True) if (crops := list(crops)) else ((), ())
    if not images:
        raise ValueError(f"{folder.name}: no object in it is seen whole; nothing can be learnt from it")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"labels": np.stack(labels), "whole": np.ones(len(images), bool), "images": np.stack(images)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return Pool.open(folder)


def draw_streets(folder: Path, count: int, side: int) -> Pool:
    """Draw `count` street crops (rounded up to whole chunks) into `folder`; goes on where it was interrupted."""
    chunks = -(-count // CHUNK)
    done_file = folder / f"done-{chunks}-{side}.txt"
    if not done_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (chunks * CHUNK, side, side)
        open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
        open_memmap(folder / "labels.npy", "w+", np.uint8, shape)
        open_memmap(folder / "whole.npy", "w+", bool, shape[:1])
        done_file.touch()
    done = {int(line) for line in done_file.read_text().split()}
    missing = [chunk for chunk in range(chunks) if chunk not in done]
    with (
        # Spawned: a fork of a process whose OpenCV has started its threads never returns from setNumThreads.
        ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), cv2.setNumThreads, (1,)) as workers,
        open(done_file, "a") as record,
        tqdm(total=len(missing) * CHUNK, desc="street crops") as bar,
    ):
        for chunk in workers.map(partial(_draw_chunk, folder, side, CHUNK), missing):
            record.write(f"{chunk}\n")
            record.flush()
            bar.update(CHUNK)
    return Pool.open(folder)


def _draw_chunk(folder: Path, side: int, size: int, chunk: int) -> int:
    images, labels, whole = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("images", "labels", "whole"))
    rng = np.random.default_rng(TRAIN_SEEDS[chunk])
    for n in range(chunk * size, (chunk + 1) * size):
        whole[n] = rng.random() < ALONE_SHARE
        images[n], ids, _ = crop_sample(rng, side, alone=bool(whole[n]))
        labels[n] = ids.clip(max=255)
    return chunk
