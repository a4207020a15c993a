"""How a surface goes on where it is hidden: flat faces go on as planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

#: Faces of one object, planes tried per face, pixels that judge them, at most. More put no more points right.
FACES, TRIALS, JUDGES = 2, 24, 120
#: A face has at least so many pixels, and is sought while so large a share of what is seen lies in none.
LEAST_PIXELS, LEAST_SHARE = 8, 0.1
#: A pixel lies in a plane when its depth is this close (share of the depth), more when the depth image is noisy.
WITHIN, MOST_WITHIN = 0.003, 0.03
#: The noise is told from so many pixels in the middle of what is seen.
NOISE_SAMPLE = 300
#: Hidden depths stay within what is seen of the object, extended by so much to the front and to the back (metres).
IN_FRONT, BEHIND = 0.5, 1.5

#: 32 random bits for each corner of each tried triangle: n times them, without the lower 32, is a number below n.
_DRAWS = np.random.default_rng(0).integers(2**32, size=(FACES, 3, TRIALS), dtype=np.uint32).astype(np.int64)


@dataclass(frozen=True)
class Surface:
    """What is seen of an object's surface, on a grid of pixels, and where it is hidden.

    Attributes:
        depths: float64 (m,) of the seen pixels, metres, more than 0.
        seen, hidden: int (m,) and (n,), which pixels of the grid: ascending, m and n at least 1, none in both.
        rays: float64 (3, pixels) of the grid, directions with z = 1, row by row.
        columns: of the grid.
    """

    depths: np.ndarray
    seen: np.ndarray
    hidden: np.ndarray
    rays: np.ndarray
    columns: int


def continued(surfaces: Sequence[Surface]) -> list[np.ndarray]:
    """Depths of the hidden pixels of several objects, float64 (n,) each, more than 0.

    A plane's inverse depth is linear in the x and y of rays with z = 1. Per object the plane through most of the seen
    pixels is found (RANSAC, then least squares), and then that through most of the others. A hidden pixel continues the
    plane that the seen pixel nearest to it lies in, or takes on that pixel's depth where it lies in none. All objects
    are worked on at once: NumPy's calls cost more here than their work.
    """
    if not surfaces:
        return []
    counts = np.array([len(one.depths) for one in surfaces])
    starts, kinds = np.cumsum([0, *counts]), np.arange(len(surfaces))
    of_point, of_hidden = np.repeat(kinds, counts), np.repeat(kinds, [len(one.hidden) for one in surfaces])
    nearest = np.concatenate([_nearest(one) + start for one, start in zip(surfaces, starts)])
    points = np.empty((4, starts[-1]))
    np.concatenate([one.rays.take(one.seen, axis=1) for one in surfaces], axis=1, out=points[:3])
    points[3] = inverse = 1 / np.concatenate([one.depths for one in surfaces])
    ahead = np.concatenate([one.rays.take(one.hidden, axis=1) for one in surfaces], axis=1)
    within, least = _tolerances(inverse, surfaces, starts), np.maximum(LEAST_PIXELS, LEAST_SHARE * counts)
    found, faceless, left = inverse.take(nearest), np.ones(len(nearest), bool), np.arange(len(inverse))
    for draws in _DRAWS:
        open_ones = np.bincount(of_hidden.compress(faceless), minlength=len(counts)) > 0
        open_ones &= np.bincount(of_point.take(left), minlength=len(counts)) >= least
        left = left.compress(open_ones.take(of_point.take(left)))
        if not len(left):
            break
        planes = np.zeros((4, len(counts)))
        sizes = np.bincount(of_point.take(left), minlength=len(counts)).compress(open_ones)
        planes[:, open_ones], inside = _planes(points.take(left, axis=1), sizes, within.compress(open_ones), draws)
        member = np.zeros(len(inverse), bool)
        member[left.compress(inside)] = True
        lies = member.take(nearest)
        found = np.where(lies, (planes[:3].take(of_hidden, axis=1) * ahead).sum(0), found)
        faceless, left = faceless & ~lies, left.compress(~inside)
    low = 1 / (1 / np.minimum.reduceat(inverse, starts[:-1]) + BEHIND)
    high = 1 / np.maximum(1 / np.maximum.reduceat(inverse, starts[:-1]) - IN_FRONT, 1e-4)
    depths = 1 / np.minimum(np.maximum(found, low.take(of_hidden)), high.take(of_hidden))
    ends = np.cumsum([len(one.hidden) for one in surfaces]).tolist()
    return [depths[start:end] for start, end in zip([0, *ends], ends)]


def _nearest(surface: Surface) -> np.ndarray:
    """int (n,): position among the seen pixels of the one nearest to each hidden pixel."""
    away = np.ones(surface.rays.shape[1], np.uint8)
    away[surface.seen] = 0
    _, labels = cv2.distanceTransformWithLabels(
        away.reshape(-1, surface.columns), cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    return labels.ravel().take(surface.hidden) - 1  # labels count the seen pixels row by row


def _planes(
    points: np.ndarray, counts: np.ndarray, within: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The plane inverse = a x + b y + c through most of what is seen of each of k objects.

    Args:
        points: (4, n): x, y, 1 and inverse depth, object after object.
        counts: int (k,): of their points, n in all, each more than 0.
        within: (k,): share of its inverse depth by which a point in the plane is off it at most.
        draws: int (3, trials): of `_DRAWS`.

    Returns:
        (4, k): a, b, c and -1; and which points lie in their plane, bool (n,).
    """
    starts = np.cumsum(counts) - counts
    first = starts[:, None]
    tried = _through(*(points.take(first + drawn, axis=1) for drawn in (draws[:, None] * counts[:, None]) >> 32))
    judges = points.take(first + np.arange(JUDGES) * counts[:, None] // JUDGES, axis=1)
    off = np.matmul(tried.transpose(1, 2, 0), judges.transpose(1, 0, 2))  # (k, trials, judges)
    close = np.abs(off, out=off) < (within[:, None] * judges[3])[:, None]
    best = np.count_nonzero(close, axis=2).argmax(1)
    chosen = np.repeat(tried[:, np.arange(len(best)), best], counts, axis=1)
    member = np.abs((chosen * points).sum(0)) < np.repeat(within, counts) * points[3]
    planes, sizes = _fitted(points * member, starts)
    return planes, member & np.repeat(sizes >= LEAST_PIXELS, counts)


def _through(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Coefficients (4, ...), a, b, c and -1, of the planes through three points each, (4, ...)."""
    (ax, ay, _, az), (bx, by, _, bz) = q - p, r - p
    area = ax * by - ay * bx + 1e-15  # of what is hardly a triangle comes a steep plane, in which nothing else lies
    a, b = (az * by - ay * bz) / area, (ax * bz - az * bx) / area
    return np.stack([a, b, p[3] - a * p[0] - b * p[1], np.full_like(a, -1)])


def _fitted(points: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares through the points (4, n) of k objects, those that are all 0 left out.

    Returns:
        Planes (4, k) and the numbers of their points (k,).

    Across a line of points, about which they say nothing, a plane is level.
    """
    x, y, _, z = points
    sums = np.add.reduceat(np.concatenate([points, x * points[:2], y * points[1:2], z * points[:2]]), starts, axis=1)
    x, y, count, z, xx, xy, yy, xz, yz = sums
    n = np.maximum(count, 1)
    xx, xy, yy, xz, yz = xx - x * x / n, xy - x * y / n, yy - y * y / n, xz - x * z / n, yz - y * z / n
    least = 1e-7 * (xx + yy) + 1e-12
    xx, yy = xx + least, yy + least
    size = xx * yy - xy * xy
    a, b = (yy * xz - xy * yz) / size, (xx * yz - xy * xz) / size
    return np.stack([a, b, (z - a * x - b * y) / n, np.full_like(a, -1)]), count


def _tolerances(inverse: np.ndarray, surfaces: Sequence[Surface], starts: np.ndarray) -> np.ndarray:
    """(k,), from the noise of inverse depths (n,): bends between neighbours in a row, which a plane has not."""
    middle = inverse[1:-1]
    bends = np.abs(inverse[:-2] - 2 * middle + inverse[2:]) / middle
    found = []
    for one, start in zip(surfaces, starts.tolist()):
        first = max(0, (len(one.seen) - NOISE_SAMPLE) // 2)
        seen = one.seen[first : first + NOISE_SAMPLE]
        place = seen + 2 * (seen // one.columns)  # consecutive numbers are neighbours in a row
        bend = bends[start + first : start + first + len(place) - 2].compress(place[2:] - place[:-2] == 2)
        bend.sort()
        found.append(bend[(len(bend) - 1) // 2] + bend[len(bend) // 2] if len(bend) else 0.0)
    sigma = np.array(found) / 2 / (0.6745 * 6**0.5)
    return np.minimum(np.maximum(3 * sigma, WITHIN), MOST_WITHIN)
