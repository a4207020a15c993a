"""How a surface goes on where it is hidden: flat faces go on as planes."""

from __future__ import annotations

import cv2
import numpy as np

#: At most so many faces of one object; with four the share of hidden points within 0.3 m of the truth is the same to 0.003.
FACES = 2
#: Planes tried per face, and pixels that judge them (at most 255: they are counted in a byte).
TRIALS, JUDGES = 24, 120
#: A face has at least so many pixels, and this share of those that are seen.
LEAST_PIXELS, LEAST_SHARE = 8, 0.1
#: A pixel lies in a plane when its depth is this close (share of the depth), more when the depth image is noisy.
WITHIN, MOST_WITHIN = 0.003, 0.03
#: Hidden depths stay within what is seen of the object, extended by so much to the front and to the back (metres).
IN_FRONT, BEHIND = 0.5, 1.5

#: 32 random bits for each corner of each tried triangle: n times them, without the lower 32, is a number below n.
_DRAWS = np.random.default_rng(0).integers(2**32, size=(FACES, 3, TRIALS), dtype=np.uint32).astype(np.int64)


def continued(seen: np.ndarray, sure: np.ndarray, hidden: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Depths of hidden pixels, from where depths are sure.

    A plane's inverse depth is linear in the x and y of rays with z = 1. Planes are found one after another among the
    sure pixels (RANSAC); a hidden pixel continues the plane of the sure pixel nearest to it, or takes on that pixel's
    depth where it belongs to no plane. Planes that no hidden pixel continues are not looked for.

    Args:
        seen: float (rows, columns) depths in metres, more than 0 where `sure`.
        sure: bool (rows, columns), at least one.
        hidden: bool (rows, columns), apart from `sure`.
        rays: float (3, rows * columns), directions with z = 1.

    Returns:
        float64 (n,), 0 or more, in the order of `np.nonzero(hidden)`.
    """
    _, labels = cv2.distanceTransformWithLabels(
        (~sure).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = labels.ravel().compress(hidden.ravel()) - 1  # labels count the sure pixels row by row
    at = np.flatnonzero(sure)
    depths = seen.ravel().take(at).astype(np.float64)
    borders = np.zeros(len(at), bool)
    borders[nearest] = True
    points = np.empty((4, len(at)))
    points[:3], points[3] = rays.take(at, axis=1), 1 / depths
    planes, member = _planes(points, borders, _tolerance(points[3], at + 2 * (at // sure.shape[1])))
    face = member.take(nearest)
    low, high = max(0.0, float(depths.min()) - IN_FRONT), float(depths.max()) + BEHIND
    inverse = (planes.take(face, axis=1) * rays.compress(hidden.ravel(), axis=1)).sum(0)
    on_plane = np.minimum(np.maximum(1 / np.maximum(inverse, 1e-4), low), high)
    return np.where(face >= 0, on_plane, depths.take(nearest))


def _planes(points: np.ndarray, borders: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Planes inverse = a x + b y + c through most of what is seen, until all of `borders` lie in one.

    Args:
        points: (4, n): x, y, 1 and inverse depth.
        borders: bool (n,).
        within: share of its inverse depth by which a point in a plane is off it at most.

    Returns:
        Coefficients (3, k + 1), the last of no plane; and the plane of each point, -1 for none.
    """
    count = points.shape[1]
    planes, member, left = np.zeros((3, FACES + 1)), np.full(count, -1), np.arange(count)
    rest = points / points[3]  # (a, b, c, -1) . rest: how far a point is off a plane, as a share of its inverse depth
    for k in range(FACES):
        if len(left) < max(LEAST_PIXELS, LEAST_SHARE * count):
            break
        tried = _through(*(points.take(left.take(drawn), axis=1) for drawn in (_DRAWS[k] * len(left)) >> 32))
        close = np.abs(tried.T @ rest[:, :: -(-len(left) // JUDGES)]) < within
        best = tried[:, np.add.reduce(close.view(np.uint8), axis=1, dtype=np.uint8).argmax()]
        found = np.abs(best @ rest) < within
        inside = left.compress(found)
        if len(inside) < LEAST_PIXELS:
            break
        planes[:, k] = _fitted(points.take(inside, axis=1))
        member[inside] = k
        off = ~found
        left, rest = left.compress(off), rest.compress(off, axis=1)
        if not borders.take(left).any():
            break
    return planes, member


def _through(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Coefficients (4, n), a, b, c and -1, of the planes through three points each, (4, n)."""
    (ax, ay, _, az), (bx, by, _, bz) = q - p, r - p
    area = ax * by - ay * bx + 1e-15  # of what is hardly a triangle comes a steep plane, in which nothing else lies
    planes = np.empty((4, len(area)))
    planes[0] = (az * by - ay * bz) / area
    planes[1] = (ax * bz - az * bx) / area
    planes[2] = p[3] - planes[0] * p[0] - planes[1] * p[1]
    planes[3] = -1
    return planes


def _fitted(points: np.ndarray) -> tuple[float, float, float]:
    """Least squares through (4, n); across a line of points, about which they say nothing, it is level."""
    (xx, xy, x, xz), (_, yy, y, yz), (_, _, n, z), _ = (points @ points.T).tolist()
    xx, xy, yy, xz, yz = xx - x * x / n, xy - x * y / n, yy - y * y / n, xz - x * z / n, yz - y * z / n
    least = 1e-7 * (xx + yy)
    xx, yy = xx + least, yy + least
    a, b = (yy * xz - xy * yz) / (xx * yy - xy * xy), (xx * yz - xy * xz) / (xx * yy - xy * xy)
    return a, b, (z - a * x - b * y) / n


def _tolerance(inverse: np.ndarray, place: np.ndarray) -> float:
    """From the noise of inverse depths (n,): bends between neighbours in a row, which a plane has not.

    Args:
        place: int (n,), ascending, of neighbours in a row consecutive numbers, and of no others.
    """
    here = inverse[1:-1]
    bend = (np.abs(inverse[:-2] - 2 * here + inverse[2:]) / here).compress(place[2:] - place[:-2] == 2)
    if not len(bend):
        return WITHIN
    bend.sort()
    sigma = float(bend[(len(bend) - 1) // 2] + bend[len(bend) // 2]) / 2 / (0.6745 * 6**0.5)
    return min(max(3 * sigma, WITHIN), MOST_WITHIN)
