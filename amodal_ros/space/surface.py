"""How a surface goes on where it is hidden: flat faces go on as planes."""

from __future__ import annotations

import cv2
import numpy as np

#: At most so many faces of one object.
FACES = 4
#: Planes tried per face, and pixels that judge them.
TRIALS, JUDGES = 40, 250
#: A face has at least so many pixels, and this share of those that are seen.
LEAST_PIXELS, LEAST_SHARE = 8, 0.1
#: A pixel lies in a plane when its depth is this close (share of the depth), more when the depth image is noisy.
WITHIN, MOST_WITHIN = 0.003, 0.03
#: Hidden depths stay within what is seen of the object, extended by so much to the front and to the back (metres).
IN_FRONT, BEHIND = 0.5, 1.5


def continued(seen: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Depths everywhere, from where they are sure.

    A plane's inverse depth is linear in pixel coordinates. Planes are found one after another among the sure pixels
    (RANSAC); every other pixel continues the plane of the sure pixel nearest to it, or takes on that pixel's depth
    where it belongs to no plane.

    Args:
        seen: float (rows, columns) depths in metres, more than 0 where `sure`.
        sure: bool (rows, columns), at least one.

    Returns:
        float64 (rows, columns).
    """
    _, label = cv2.distanceTransformWithLabels(
        np.ascontiguousarray(~sure).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(sure)
    depths = seen[rows, columns].astype(np.float64)
    of_label = np.zeros(int(label.max()) + 1, np.intp)
    of_label[label[rows, columns]] = np.arange(len(rows))
    nearest = of_label[label]
    planes, member = _planes(rows, columns, 1 / depths, _tolerance(seen, sure))
    out = depths[nearest]
    if len(planes):
        low, high = depths.min() - IN_FRONT, depths.max() + BEHIND
        face = member[nearest]
        a, b, c = planes[face].transpose(2, 0, 1)
        v, u = np.ogrid[: seen.shape[0], : seen.shape[1]]
        inverse = np.maximum(a * u + b * v + c, 1e-4)
        out = np.where(face >= 0, np.clip(1 / inverse, low, high), out)
        out[rows, columns] = depths
    return out


def _planes(rows: np.ndarray, columns: np.ndarray, inverse: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (k, 3) of inverse = a column + b row + c, and the plane of each pixel, -1 for none."""
    rng = np.random.default_rng(0)
    points = np.stack([columns, rows, inverse], axis=1)
    member, left = np.full(len(rows), -1), np.arange(len(rows))
    planes: list[np.ndarray] = []
    while len(planes) < FACES and len(left) >= max(LEAST_PIXELS, LEAST_SHARE * len(rows)):
        tried = _through(*(points[left[rng.integers(len(left), size=TRIALS)]] for _ in range(3)))
        if not len(tried):
            break
        judges = points[left[:: -(-len(left) // JUDGES)]]
        best = tried[_lie_in(judges, tried, within).sum(0).argmax()]
        found = _lie_in(points[left], best[None], within)[:, 0]
        if np.count_nonzero(found) < LEAST_PIXELS:
            break
        inside = left[found]
        planes.append(_fitted(points[inside]))
        member[inside], left = len(planes) - 1, left[~found]
    return np.array(planes).reshape(-1, 3), member


def _through(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Coefficients (m, 3) of the planes through three points each, (n, 3); slim triangles are left out."""
    (ax, ay, az), (bx, by, bz) = (q - p).T, (r - p).T
    normal = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
    wide = np.abs(normal[:, 2]) > 4  # twice the triangle's area, pixels
    slopes = -normal[wide, :2] / normal[wide, 2:]
    return np.column_stack([slopes, p[wide, 2] - (slopes * p[wide, :2]).sum(1)])


def _fitted(points: np.ndarray) -> np.ndarray:
    """Least squares, coefficients (3,)."""
    middle = points.mean(0)
    x, y, z = (points - middle).T
    xx, yy, xy = x @ x, y @ y, x @ y
    size = max(xx * yy - xy * xy, 1e-9)
    a, b = (yy * (x @ z) - xy * (y @ z)) / size, (xx * (y @ z) - xy * (x @ z)) / size
    return np.array([a, b, middle[2] - a * middle[0] - b * middle[1]])


def _lie_in(points: np.ndarray, planes: np.ndarray, within: float) -> np.ndarray:
    """bool (points, planes)."""
    expected = points[:, :2] @ planes[:, :2].T + planes[:, 2]
    return np.abs(expected - points[:, 2:]) < within * points[:, 2:]


def _tolerance(seen: np.ndarray, sure: np.ndarray) -> float:
    """From the noise of the depths: bends between neighbours in a row, which a plane has not."""
    three = sure[:, :-2] & sure[:, 1:-1] & sure[:, 2:]
    if not three.any():
        return WITHIN
    inverse = 1 / np.where(sure, seen, 1.0)
    bend = np.abs(inverse[:, :-2] - 2 * inverse[:, 1:-1] + inverse[:, 2:])[three] / inverse[:, 1:-1][three]
    sigma = float(np.median(bend)) / (0.6745 * np.sqrt(6))
    return float(np.clip(3 * sigma, WITHIN, MOST_WITHIN))
