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
    at, wanted = np.flatnonzero(sure), np.flatnonzero(hidden)
    own = labels.ravel().take(at)
    position = np.empty(len(at) + 1, np.intp)  # labels count from 1
    position[own] = np.arange(len(at))
    nearest = position.take(labels.ravel().take(wanted))
    borders = np.zeros(len(at), bool)
    borders[nearest] = True
    depths = seen.ravel().take(at).astype(np.float64)
    width = seen.shape[1]
    planes, member = _planes(np.stack([at % width, at // width, 1 / depths]), borders, _tolerance(seen, sure))
    face = member.take(nearest)
    a, b, c = planes.take(face, axis=1)
    low, high = max(0.0, float(depths.min()) - IN_FRONT), float(depths.max()) + BEHIND
    inverse = a * (wanted % width) + b * (wanted // width) + c
    on_plane = np.minimum(np.maximum(1 / np.maximum(inverse, 1e-4), low), high)
    return np.where(face >= 0, on_plane, depths.take(nearest))


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
    planes, member, left = np.zeros((3, FACES + 1)), np.full(count, -1), np.arange(count)
    # (a, b, c, 1) . scaled: how far a point is off a plane, as a share of its inverse depth.
    scaled = np.empty((4, count))
    scaled[:2], scaled[2], scaled[3] = points[:2] / points[2], 1 / points[2], -1.0
    for k in range(FACES):
        if len(left) < max(LEAST_PIXELS, LEAST_SHARE * count) or not borders.take(left).any():
            break
        tried = _through(points.take(left.take((_DRAWS[k] * len(left)) >> 32), axis=1))
        judges = scaled.take(left[:: -(-len(left) // JUDGES)], axis=1)
        close = np.abs(tried @ judges) < within
        best = tried[np.add.reduce(close.view(np.uint8), axis=1, dtype=np.uint8).argmax()]
        found = np.abs(best @ scaled.take(left, axis=1)) < within
        inside = left.compress(found)
        if len(inside) < LEAST_PIXELS:
            break
        planes[:, k] = _fitted(points.take(inside, axis=1))
        member[inside], left = k, left.compress(~found)
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
    middle = points.sum(1) / points.shape[1]
    centred = points - middle[:, None]
    (xx, xy, xz), (_, yy, yz), _ = (centred @ centred.T).tolist()
    size = max(xx * yy - xy * xy, 1e-9)
    a, b = (yy * xz - xy * yz) / size, (xx * yz - xy * xz) / size
    x, y, z = middle.tolist()
    return a, b, z - a * x - b * y


def _tolerance(seen: np.ndarray, sure: np.ndarray) -> float:
    """From the noise of the depths: bends between neighbours in a row, which a plane has not."""
    three = np.flatnonzero(sure[:, :-2] & sure[:, 1:-1] & sure[:, 2:])
    if not len(three):
        return WITHIN
    three += 2 * (three // (seen.shape[1] - 2))  # from rows without the last two columns to whole ones
    before, here, after = (1 / seen.ravel().take(three + k) for k in range(3))
    bend = np.sort(np.abs(before - 2 * here + after) / here)
    sigma = float(bend[(len(bend) - 1) // 2] + bend[len(bend) // 2]) / 2 / (0.6745 * 6**0.5)
    return min(max(3 * sigma, WITHIN), MOST_WITHIN)
