"""Label maps with noise: specks are taken out, and what is no label map at all is told from one."""

from __future__ import annotations

import cv2
import numpy as np

#: A map is looked through for specks where so many runs of equal pixels in its rows, and so large a share of them, are
#: one pixel long. Clean maps have 1 to 5 %, 2 % of salt makes 40 %, a camera image has 70 %.
SINGLE, SINGLE_SHARE = 50, 0.15
#: In such a map connected pixels of one value are noise where they are fewer than this.
SPECK = 8
#: A larger share of the labelled pixels in specks is no noise: it is another kind of image.
MOST_NOISE = 0.25


def without_specks(labels: np.ndarray, background: int = 0) -> np.ndarray:
    """A label map with specks set to background; a map without noise comes back as it is.

    A segmenter's map has few and large pieces. Noise scatters a label over the frame: the object's box grows to all of
    it, and with the boxes the time that an answer takes.

    Args:
        labels: integers (height, width).
        background: the value that is nobody.

    Raises:
        ValueError: so much lies in specks that it is no label map.
    """
    begins = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    single = starts[np.diff(starts, append=labels.size) == 1]
    singles = np.count_nonzero(labels.reshape(-1)[single] != background)
    if singles < SINGLE or singles < SINGLE_SHARE * len(starts):
        return labels
    labelled = labels != background
    noise = labelled & _small(labels, SPECK)
    share = np.count_nonzero(noise) / np.count_nonzero(labelled)
    if share > MOST_NOISE:
        raise ValueError(
            f"label map: expected one value per object, but {share:.0%} of the labelled pixels lie in specks of "
            f"less than {SPECK} pixels: is a camera image wired to the label map's topic?",
        )
    return np.where(noise, labels.dtype.type(background), labels)


def _small(labels: np.ndarray, pixels: int) -> np.ndarray:
    """bool (height, width): which pixels lie in 4-connected pieces of one value with fewer than so many pixels.

    On a grid of twice the size: a pixel's node, and between two nodes a link where their values are equal.
    """
    height, width = labels.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    grid[::2, ::2] = 1
    grid[::2, 1::2] = labels[:, 1:] == labels[:, :-1]
    grid[1::2, ::2] = labels[1:] == labels[:-1]
    _, pieces = cv2.connectedComponents(grid, connectivity=4, ltype=cv2.CV_32S)
    of_pixel = pieces[::2, ::2]
    return (np.bincount(of_pixel.ravel()) < pixels)[of_pixel]
