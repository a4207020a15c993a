"""How a surface goes on where it is hidden: a flat face goes on as a plane."""

from __future__ import annotations

import cv2
import numpy as np

#: Planes tried, and pixels that judge them. More do not bring more hidden points to the true surface, nor do more planes.
TRIALS, JUDGES = 24, 120
#: A face has at least so many pixels.
LEAST_PIXELS = 8
#: A pixel lies in a plane when its depth is this close (share of the depth), more when the depth image is noisy.
WITHIN, MOST_WITHIN = 0.003, 0.03
#: Hidden depths stay within what is seen of the object, extended by so much to the front and to the back (metres).
IN_FRONT, BEHIND = 0.5, 1.5

#: 32 random bits for each corner of each tried triangle: n times them, without the lower 32, is a number below n.
_DRAWS = np.random.default_rng(0).integers(2**32, size=(3, TRIALS), dtype=np.uint32).astype(np.int64)


def continued(depths: np.ndarray, sure: np.ndarray, hidden: np.ndarray, rays: np.ndarray, columns: int) -> np.ndarray:
    """Depths of hidden pixels, from where depths are sure.

    A plane's inverse depth is linear in the x and y of rays with z = 1. The plane through most of the sure pixels is
    found (RANSAC, then least squares). A hidden pixel continues it where the sure pixel nearest to it lies in it, and
    else takes on that pixel's depth.

    Args:
        depths: float64 (m,) of the sure pixels, metres, more than 0.
        sure, hidden: int (m,) and (n,), which pixels of the grid: ascending, m at least 1, none in both.
        rays: float64 (3, pixels) of the grid, directions with z = 1, row by row.
        columns: of the grid.

    Returns:
        float64 (n,), more than 0.
    """
    away = np.ones(rays.shape[1], np.uint8)
    away[sure] = 0
    _, labels = cv2.distanceTransformWithLabels(
        away.reshape(-1, columns), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = labels.ravel().take(hidden) - 1  # labels count the sure pixels row by row
    points = np.empty((4, len(sure)))
    points[:3], points[3] = rays.take(sure, axis=1), 1 / depths
    within = _tolerance(points[3], sure + 2 * (sure // columns))
    found = _plane(points, within)
    if found is None:
        return depths.take(nearest)
    plane, member = found
    inverse = np.where(member.take(nearest), plane @ rays.take(hidden, axis=1), points[3].take(nearest))
    low, high = 1 / (float(depths.max()) + BEHIND), 1 / max(float(depths.min()) - IN_FRONT, 1e-4)
    return 1 / np.minimum(np.maximum(inverse, low), high)


def _plane(points: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The plane inverse = a x + b y + c through most of what is seen.

    Args:
        points: (4, n): x, y, 1 and inverse depth.
        within: share of its inverse depth by which a point in the plane is off it at most.

    Returns:
        (a, b, c), and which points lie in it, bool (n,). None when too few do.
    """
    count = points.shape[1]
    tried = _through(*(points.take(drawn, axis=1) for drawn in (_DRAWS * count) >> 32))
    judges = points[:, :: -(-count // JUDGES)]
    close = np.abs(tried.T @ judges) < within * judges[3]
    best = tried[:, np.count_nonzero(close, axis=1).argmax()]
    member = np.abs(best @ points) < within * points[3]
    inside = points.compress(member, axis=1)
    return (_fitted(inside), member) if inside.shape[1] >= LEAST_PIXELS else None


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


def _fitted(points: np.ndarray) -> np.ndarray:
    """Least squares through (4, n): (a, b, c). Across a line of points, about which they say nothing, it is level."""
    (xx, xy, x, xz), (_, yy, y, yz), (_, _, n, z), _ = (points @ points.T).tolist()
    xx, xy, yy, xz, yz = xx - x * x / n, xy - x * y / n, yy - y * y / n, xz - x * z / n, yz - y * z / n
    least = 1e-7 * (xx + yy)
    xx, yy = xx + least, yy + least
    a, b = (yy * xz - xy * yz) / (xx * yy - xy * xy), (xx * yz - xy * xz) / (xx * yy - xy * xy)
    return np.array([a, b, (z - a * x - b * y) / n])


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
