"""What a depth image tells: which pixels lie before an object, labelled or not (`docs/method.md`, "Depth").

Depths are kept as inverse depth (1 / metres): a plane in space is a plane there, far away is 0, and unknown is NaN.
"""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion

#: A pixel without depth takes that of the nearest one that has it, up to so many pixels away (projected lidar).
REACH = 8
#: Nearer by less than this share of the distance is not nearer, nor by less than so many deviations of the object's
#: own pixels from its plane.
MARGIN, DEVIATIONS = 0.04, 3.0
#: Fewer pixels with depth say nothing about an object; more than so many are not needed.
FEWEST, ENOUGH = 5, 400
#: Pixels this close (relative) to the ground plane are ground; it is believed when such a share of the lower half's is.
GROUND, GROUND_SHARE = 0.06, 0.2


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """1 / depth, float32 (height, width), NaN where unknown.

    Args:
        depth: float (height, width) in metres; NaN, infinity, 0 and negative mean unknown.
    """
    inverse = np.full(depth.shape, np.nan, np.float32)
    np.divide(1.0, depth, out=inverse, where=np.isfinite(depth) & (depth > 0), casting="same_kind")
    return inverse


def without_gaps(inverse: np.ndarray) -> np.ndarray:
    """Inverse depth where gaps that `REACH` closes have the value of the nearest pixel that is known."""
    known = ~np.isnan(inverse)
    if known.all() or not known.any():
        return inverse
    distance, label = cv2.distanceTransformWithLabels(
        (~known).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value = np.full(int(label.max()) + 1, np.nan, np.float32)
    value[label[known]] = inverse[known]
    return np.where(known | (distance > REACH), inverse, value[label])


def ground_plane(inverse: np.ndarray, labelled: MaskRegion) -> np.ndarray | None:
    """The plane (a, b, c), inverse = a x + b y + c, of the unlabelled pixels of an image's lower half; None if none."""
    height, width = inverse.shape
    rows, columns = np.mgrid[height // 2 : height : 5, 0:width:9]
    free = ~labelled.full(height, width)[rows, columns] & np.isfinite(inverse[rows, columns])
    y, x = rows[free], columns[free]
    w = inverse[y, x]
    if len(w) < 10 * FEWEST:
        return None
    # It rises downwards; what stands on it is above it (nearer). The lower edge of the cloud starts the fit.
    plane = np.array([0.0, np.quantile(w / np.maximum(1, y - 0.45 * height), 0.2), 0.0])
    plane[2] = -plane[1] * 0.45 * height
    points = np.column_stack([x, y, np.ones(len(w))])
    for spread in (0.5, 0.3, 0.15, 0.1, GROUND, GROUND):
        off = np.abs(points @ plane - w) / np.maximum(w, 1e-6)
        weight = np.clip(1 - (off / (2 * spread)) ** 2, 0, None) ** 2 / np.maximum(w, 1e-6) ** 2
        if np.count_nonzero(weight) < FEWEST:
            return None
        root = np.sqrt(weight)[:, None]
        plane = np.linalg.lstsq(points * root, w * root[:, 0], rcond=None)[0]
    off = np.abs(points @ plane - w) / np.maximum(w, 1e-6)
    return plane if plane[1] > 0 and (off < GROUND).mean() > GROUND_SHARE else None


def own_plane(inverse: np.ndarray, mask: MaskRegion) -> tuple[np.ndarray, float, float, float] | None:
    """A robust plane (a, b, c) through a visible mask, the deviation of its pixels, and their least and largest value.

    None where too little is known.
    """
    ys, xs = np.nonzero(mask.bits)
    step = max(1, len(ys) // ENOUGH)
    x, y = xs[::step] + mask.x, ys[::step] + mask.y
    w = inverse[y, x]
    known = np.isfinite(w)
    x, y, w = x[known], y[known], w[known]
    if len(w) < FEWEST:
        return None
    centre, size = np.array([x.mean(), y.mean()]), float(max(mask.width, mask.height))
    points = np.column_stack([(x - centre[0]) / size, (y - centre[1]) / size, np.ones(len(w))])
    solution = np.array([0.0, 0.0, float(np.median(w))])
    level = solution[2]
    for _ in range(4):
        residual = points @ solution - w
        deviation = max(1.4826 * float(np.median(np.abs(residual))), 1e-3 * level)
        weight = np.clip(1 - (residual / (4 * deviation)) ** 2, 0, None) ** 2
        # Slopes are held a little: a few pixels of a thin part must not tip the plane.
        normal = (points * weight[:, None]).T @ points + np.diag([0.02 * weight.sum(), 0.02 * weight.sum(), 0.0])
        solution = np.linalg.solve(normal, (points * weight[:, None]).T @ w)
    a, b = solution[:2] / size
    low, high = np.quantile(w, [0.02, 0.98])
    return np.array([a, b, solution[2] - a * centre[0] - b * centre[1]]), deviation, float(low), float(high)


def nearer_than(
    inverse: np.ndarray, closed: np.ndarray, mask: MaskRegion, ground: np.ndarray | None, box: tuple[int, int, int, int]
) -> tuple[MaskRegion, MaskRegion] | None:
    """The pixels of a box, clipped to the image, that lie before an object's own depth there, and those behind it.

    Args:
        inverse: of the image (`inverse_depth`): the object's own depth comes from what is known, never from beside it.
        closed: the same `without_gaps`.
        mask: the object's visible mask.
        ground: plane whose pixels never lie before anything that stands on it (`ground_plane`).
        box: (x, y, width, height).

    Returns:
        None where the object's own depth is not known.
    """
    own = own_plane(inverse, mask)
    if own is None:
        return None
    plane, deviation, low, high = own
    height, width = inverse.shape
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(width, box[0] + box[2]), min(height, box[1] + box[3])
    there = closed[top:bottom, left:right]
    columns, rows = np.arange(left, right), np.arange(top, bottom)[:, None]
    expected = np.clip(plane[0] * columns + plane[1] * rows + plane[2], low, high)
    margin = np.maximum(MARGIN * expected, DEVIATIONS * deviation)
    with np.errstate(invalid="ignore"):
        before, behind = there > expected + margin, there < expected - margin
        if ground is not None:
            floor = ground[0] * columns + ground[1] * rows + ground[2]
            before &= there > (1 + GROUND) * floor
    before = cv2.morphologyEx(before.view(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)).view(bool)
    return MaskRegion(left, top, before), MaskRegion(left, top, behind)
