"""Label maps with ids that last, written into a copy of a bag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagError, BagReader, BagWriter, Record, Storage
from amodal_ros.lab.bags.make import LABELS_TOPIC
from amodal_ros.lab.bags.typed import typestore
from amodal_ros.messages import nanoseconds
from amodal_ros.stream.images import BadInput, rgb_of

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
#: Encodings of depth and label maps.
NUMBERS = ("16UC1", "16SC1", "32SC1", "32UC1", "32FC1", "64FC1")


def label(
    bag: Path,
    out: Path,
    labeller: Callable[[np.ndarray, int], np.ndarray],
    image_topic: str | None = None,
    labels_topic: str = LABELS_TOPIC,
    storage: Storage = "mcap",
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[int, list[str]]:
    """Copy a bag and add a label map, under the image's header, to every image.

    Args:
        labeller: makes an int32 (height, width) label map of an RGB image and its stamp (ns).
        image_topic: needed where the bag has several topics of images.
        progress: called with the number of images so far.

    Returns:
        How many images were labelled, and topics whose types are not known here, which are left out.

    Raises:
        BagError: `out` exists, or the bag has no topic of pictures, several, or label maps already.
    """
    with BagReader(bag) as reader, BagWriter(out, storage) as writer:
        topic = _image_topic(reader, image_topic, labels_topic)
        unknown = sorted(name for name, kind in reader.topics.items() if kind not in typestore().types)
        count = 0
        for record in reader.records([name for name in reader.topics if name not in unknown]):
            writer.write_raw(record.topic, record.msgtype, record.raw, record.time)
            if record.topic == topic:
                writer.write(labels_topic, _labels(record, labeller), record.time)
                count += 1
                progress(count)
        return count, unknown


def _image_topic(reader: BagReader, wanted: str | None, labels_topic: str) -> str:
    if labels_topic in reader.topics:
        raise BagError(f"{reader.path}: has {labels_topic} already; name another topic for the label maps")
    found = [topic for kind in IMAGES for topic in reader.topics_of(kind)]
    if wanted is None and len(found) > 1:
        found = [topic for topic in found if _is_picture(next(reader.records([topic])))]
    if wanted is not None and wanted not in found:
        raise BagError(f"{reader.path}: expected images on {wanted}; it has {', '.join(found) or 'none'}")
    if wanted is None and len(found) != 1:
        raise BagError(f"{reader.path}: expected one topic of pictures, got {', '.join(found) or 'none'}; name it")
    return wanted or found[0]


def _is_picture(record: Record) -> bool:
    """Whether an image is for eyes: depth and label maps are images, too."""
    return getattr(record.message(), "encoding", "") not in NUMBERS


def _labels(record: Record, labeller: Callable[[np.ndarray, int], np.ndarray]) -> object:
    message = record.message()
    try:
        image = rgb_of(message)
    except BadInput as error:
        raise BagError(f"{record.topic}: {error}") from None
    stamp = nanoseconds(message.header.stamp)
    labels = typed.image(labeller(image, stamp), stamp)
    labels.header.frame_id = message.header.frame_id
    return labels
