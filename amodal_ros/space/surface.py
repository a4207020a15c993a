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

#: 32 random bits for each corner of each tried triangle: n times them, without the lower 32, is a number below n.
_DRAWS = np.random.default_rng(0).integers(2**32, size=(FACES, 3, TRIALS), dtype=np.uint32).astype(np.int64)


def continued(seen: np.ndarray, sure: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Depths of hidden pixels, from where depths are sure.

    A plane's inverse depth is linear in pixel coordinates. Planes are found one after another among the sure pixels
    (RANSAC); a hidden pixel continues the plane of the sure pixel nearest to it, or takes on that pixel's depth
    where it belongs to no plane. Planes that no hidden pixel continues are not looked for.

    Args:
        seen: float (rows, columns) depths in metres, more than 0 where `sure`.
        sure: bool (rows, columns), at least one.
        hidden: bool (rows, columns), apart from `sure`.

    Returns:
        float64 (n,), 0 or more, in the order of `np.nonzero(hidden)`.
    """
    _, labels = cv2.distanceTransformWithLabels(
        (~sure).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    own = labels[sure]
    position = np.empty(len(own) + 1, np.intp)  # labels count from 1
    position[own] = np.arange(len(own))
    nearest = position[labels[hidden]]
    depths = seen[sure].astype(np.float64)
    rows, columns = np.nonzero(sure)
    borders = np.zeros(len(own), bool)
    borders[nearest] = True
    planes, member = _planes(np.stack([columns, rows, 1 / depths]), borders, _tolerance(seen, sure))
    rows, columns = np.nonzero(hidden)
    face = member[nearest]
    a, b, c = planes[:, face]
    low, high = max(0.0, float(depths.min()) - IN_FRONT), float(depths.max()) + BEHIND
    on_plane = np.minimum(np.maximum(1 / np.maximum(a * columns + b * rows + c, 1e-4), low), high)
    return np.where(face >= 0, on_plane, depths[nearest])


def _planes(points: np.ndarray, borders: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Planes inverse = a column + b row + c through most of what is seen, until all of `borders` lie in one.

    Args:
        points: (3, n), column, row and inverse depth.
        borders: bool (n,).
        within: share of its inverse depth by which a point in a plane is off it at most.

    Returns:
        Coefficients (3, k + 1), the last of no plane; and the plane of each point, -1 for none.
    """
    count = points.shape[1]
    scaled = np.empty((4, count))  # (a, b, c, 1) . scaled: how far the point is off the plane, share of its inverse
    np.divide(points, points[2], out=scaled[:3])
    scaled[2], scaled[3] = 1 / points[2], -1.0
    planes, member, left = np.zeros((3, FACES + 1)), np.full(count, -1), np.arange(count)
    for k in range(FACES):
        if len(left) < max(LEAST_PIXELS, LEAST_SHARE * count) or not borders[left].any():
            break
        tried = _through(points[:, left[(_DRAWS[k] * len(left)) >> 32]])
        judges = scaled[:, left[:: -(-len(left) // JUDGES)]]
        best = tried[np.count_nonzero(np.abs(tried @ judges) < within, axis=1).argmax()]
        found = np.abs(best @ scaled[:, left]) < within
        inside = left[found]
        if len(inside) < LEAST_PIXELS:
            break
        planes[:, k] = _fitted(points[:, inside])
        member[inside], left = k, left[~found]
    return planes, member


def _through(corners: np.ndarray) -> np.ndarray:
    """Coefficients (n, 4), a, b, c and 1, of planes through three points each, (3, 3, n): coordinate, corner, plane.

    Those of slim triangles are NaN.
    """
    (ax, bx), (ay, by), (az, bz) = corners[:, 1:] - corners[:, :1]
    area = ax * by - ay * bx  # twice the triangle's, pixels
    area[np.abs(area) <= 4] = np.nan
    planes = np.ones((corners.shape[2], 4))
    planes[:, 0] = a = (az * by - ay * bz) / area
    planes[:, 1] = b = (ax * bz - az * bx) / area
    x, y, z = corners[:, 0]
    planes[:, 2] = z - a * x - b * y
    return planes


def _fitted(points: np.ndarray) -> tuple[float, float, float]:
    """Least squares through (3, n)."""
    mx, my, mz = middle = points.sum(1) / points.shape[1]
    centred = points - middle[:, None]
    (xx, xy, xz), (_, yy, yz), _ = (centred @ centred.T).tolist()
    size = max(xx * yy - xy * xy, 1e-9)
    a, b = (yy * xz - xy * yz) / size, (xx * yz - xy * xz) / size
    return a, b, mz - a * mx - b * my


def _tolerance(seen: np.ndarray, sure: np.ndarray) -> float:
    """From the noise of the depths: bends between neighbours in a row, which a plane has not."""
    three = sure[:, :-2] & sure[:, 1:-1] & sure[:, 2:]
    before, here, after = (1 / part[three] for part in (seen[:, :-2], seen[:, 1:-1], seen[:, 2:]))
    if not len(here):
        return WITHIN
    bend = np.sort(np.abs(before - 2 * here + after) / here)
    sigma = float(bend[(len(bend) - 1) // 2] + bend[len(bend) // 2]) / 2 / (0.6745 * np.sqrt(6))
    return min(max(3 * sigma, WITHIN), MOST_WITHIN)
