"""`python -m training.boxes SOURCE TARGET`: label maps for pictures of which only the object's box is known.

GrabCut (Rother et al., 2004) cuts the object out of its box; what does not fill its box, or is ragged, is left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

CORE_X, CORE_Y = (0.2, 0.8), (0.35, 0.75)  # of the box: surely the object
GAP, FILL, SOLID = 0.08, (0.5, 0.95), 0.85  # of a good cut: distance to the box's sides, share of the box, of its hull
SEED = 1  # GrabCut draws its first clusters at random


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.boxes", description=__doc__)
    parser.add_argument(
        "source", type=Path, help="folder with pictures and index.csv (file, obj_x0, obj_y0, obj_x1, obj_y1)"
    )
    parser.add_argument("target", type=Path, help="folder for the pictures that could be cut, with their label maps")
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    with open(arguments.source / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = 0
    for row in tqdm(rows):
        image = cv2.imread(str(arguments.source / row["file"]))
        x0, y0, x1, y1 = (round(float(row[f"obj_{corner}"])) for corner in ("x0", "y0", "x1", "y1"))
        mask = cut_out(image, (x0, y0, x1, y1))
        if mask is not None:
            (arguments.target / row["file"]).write_bytes((arguments.source / row["file"]).read_bytes())
            cv2.imwrite(str(arguments.target / row["file"]).replace(".jpg", ".png"), mask.astype(np.uint8))
            kept += 1
    print(f"{kept} of {len(rows)} objects cut out")


def cut_out(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray | None:
    """The object in a box of a BGR uint8 image: (height, width) bool, or None when the cut is not good.

    Args:
        box: x0, y0, x1, y1 in pixels, ends not included.
    """
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    seeds = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    seeds[y0:y1, x0:x1] = cv2.GC_PR_FGD
    rows, columns = ([start + int(size * share) for share in core] for start, size, core in _core(box))
    seeds[slice(*rows), slice(*columns)] = cv2.GC_FGD
    if (seeds != cv2.GC_BGD).all():
        return None
    cv2.setRNGSeed(SEED)
    cv2.grabCut(image, seeds, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    mask = _one_piece(((seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)).astype(np.uint8))
    left, top, wide, high = cv2.boundingRect(mask)
    gap = max(left - x0, top - y0, x1 - left - wide, y1 - top - high) / max(width, height)
    hull = cv2.contourArea(cv2.convexHull(cv2.findNonZero(mask)))
    good = gap < GAP and FILL[0] < mask.sum() / (width * height) < FILL[1] and mask.sum() > SOLID * hull
    return mask.astype(bool) if good else None


def _core(box: tuple[int, int, int, int]) -> list[tuple[int, int, tuple[float, float]]]:
    x0, y0, x1, y1 = box
    return [(y0, y1 - y0, CORE_Y), (x0, x1 - x0, CORE_X)]


def _one_piece(mask: np.ndarray) -> np.ndarray:
    """Its largest component, smoothed, without holes."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    mask = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    around = np.pad(mask, 1)
    cv2.floodFill(around, None, (0, 0), 2)
    return (around[1:-1, 1:-1] != 2).astype(np.uint8)


if __name__ == "__main__":
    main()
