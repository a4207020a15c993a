"""Files that people have: images, masks and label maps, read by one rule everywhere. NumPy and Pillow only."""

from amodal_ros.io.depth import read_depth
from amodal_ros.io.images import image_shape, read_image, rgb_of
from amodal_ros.io.labels import LabelError, Labelled, cut_labels, read_labels
from amodal_ros.io.masks import read_mask
from amodal_ros.io.names import IMAGE_SUFFIXES, images_in, natural, numbered, unique_names
from amodal_ros.io.pixels import ReadError, bit_depth, decode_pixels, read_pixels, size_text

__all__ = [
    "IMAGE_SUFFIXES",
    "LabelError",
    "Labelled",
    "ReadError",
    "bit_depth",
    "cut_labels",
    "decode_pixels",
    "image_shape",
    "images_in",
    "natural",
    "numbered",
    "read_depth",
    "read_image",
    "read_labels",
    "read_mask",
    "read_pixels",
    "rgb_of",
    "size_text",
    "unique_names",
]
