"""Bags from frames: camera image, label map, camera info and, where it is known, the amodal truth of every object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from amodal_ros.bags import messages
from amodal_ros.bags.files import BagError, BagWriter, Storage
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source

IMAGE_TOPIC = "/camera/image_raw"
COMPRESSED_TOPIC = "/camera/image_raw/compressed"
CAMERA_TOPIC = "/camera/camera_info"
LABELS_TOPIC = "/segmentation/labels"
TRUTH_TOPIC = "/ground_truth/instances"

#: Stamp of the first frame (ns). Any date does, but not zero: a zero stamp means "not stamped".
START = 1_700_000_000 * 1_000_000_000
JPEG_QUALITY = 92

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
LABEL_SUFFIXES = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Truth:
    """An object as it is: its id in the label map, its whole shape (which can leave the frame) and its class."""

    id: int
    amodal: MaskRegion
    class_id: str = ""


@dataclass(frozen=True)
class BagFrame:
    """What a bag holds of one instant.

    Attributes:
        image: RGB uint8 (height, width, 3).
        labels: uint8, uint16 or int32 (height, width); 0 is background, any other value an object's id.
        truth: the objects' whole shapes; None where truth is not known.
        projection: float (3, 4) projection matrix of the rectified camera in pixels; None if uncalibrated.
        name: what an error message calls the frame.
    """

    image: np.ndarray
    labels: np.ndarray
    truth: tuple[Truth, ...] | None = None
    projection: np.ndarray | None = None
    name: str = "frame"


def write_frames(
    frames: Iterable[BagFrame], out: Path | str, rate: float, storage: Storage = "mcap", compressed: bool = False
) -> int:
    """Write frames to a new bag, `rate` per second.

    Args:
        out: folder to create.
        compressed: store camera images as JPEG (sensor_msgs/CompressedImage) instead of sensor_msgs/Image.

    Returns:
        The number of frames.

    Raises:
        BagError: `out` exists, `rate` is not positive, there is no frame, or an image and its label map differ in size.
    """
    if not 0 < rate <= 1000:
        raise BagError(f"rate: expected frames per second in (0, 1000], got {rate}")
    count = 0
    with BagWriter(out, storage) as bag:
        for count, frame in enumerate(frames, 1):  # noqa: B007 - the count is returned
            _write_frame(bag, frame, START + round((count - 1) * 1e9 / rate), compressed)
        if count == 0:
            raise BagError(f"{out}: there is no frame to write")
    return count


def folder_frames(
    folder: Path | str, images: str = "images", labels: str = "labels", calibration: Path | str | None = None
) -> Iterator[BagFrame]:
    """Frames of a folder, in the order of their names.

    Per image ``images/NAME.jpg`` (or .png, .bmp) a label map ``labels/NAME.png`` (or .tif): 8 or 16 bits, 32 bits as
    TIFF, or an RGB PNG with id = R + 256 G + 65536 B. Truth is optional: ``truth/NAME/ID.png``, one picture of the
    frame's size per object, non-zero where the whole object is.

    Args:
        images, labels: the two folders' names inside `folder`, for data that is laid out otherwise
            (KITTI MOTS: ``image_02/0000`` and ``instances/0000``).
        calibration: KITTI calibration text; its ``P2`` or ``P_rect_02`` becomes the camera info.

    Raises:
        BagError: a folder or label map is missing, or a picture cannot be read or is of another size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BagError(f"{folder}: no such folder; expected one that holds {images}/ and {labels}/")
    for part in (images, labels):
        if not (folder / part).is_dir():
            raise BagError(f"{folder}: expected a folder {part}/ in it")
    paths = sorted(p for p in (folder / images).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise BagError(f"{folder / images}: no image in it; expected {', '.join(IMAGE_SUFFIXES)}")
    projection = None if calibration is None else read_projection(calibration)
    return (_folder_frame(folder, path, labels, projection) for path in paths)


def read_projection(path: Path | str) -> np.ndarray:
    """The left colour camera's projection matrix, float (3, 4), from a KITTI calibration file.

    Raises:
        BagError: no such file, or it has no line ``P2:`` or ``P_rect_02:`` with 12 numbers.
    """
    if not Path(path).is_file():
        raise BagError(f"{path}: no such calibration file")
    for line in Path(path).read_text(errors="replace").splitlines():
        key, _, values = line.partition(":" if ":" in line else " ")
        if key.strip() in ("P2", "P_rect_02"):
            try:
                return np.array([float(v) for v in values.split()]).reshape(3, 4)
            except ValueError:
                break
    raise BagError(f"{path}: expected a line 'P2:' or 'P_rect_02:' with 12 numbers")


def read_labels(path: Path) -> np.ndarray:
    """A label map: uint8, uint16 or int32 (height, width).

    Raises:
        BagError: the file cannot be read, or holds values that are no ids.
    """
    try:
        with Image.open(path) as picture:
            values = np.array(picture)  # a palette picture gives its indices, which are the ids
    except (OSError, SyntaxError) as error:
        raise BagError(f"{path}: not a readable label map ({error})") from error
    if values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 3:
        red, green, blue = np.moveaxis(values.astype(np.int32), 2, 0)
        return red + 256 * green + 65536 * blue
    if values.ndim == 2 and values.dtype in (np.uint8, np.uint16, np.int32):
        return values
    raise BagError(f"{path}: expected a label map of 8, 16 or 32 bits or RGB, got {values.dtype} {values.shape}")


def _folder_frame(folder: Path, path: Path, labels: str, projection: np.ndarray | None) -> BagFrame:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise BagError(f"{path}: not a readable image")
    candidates = [folder / labels / f"{path.stem}{suffix}" for suffix in LABEL_SUFFIXES]
    label_path = next((p for p in candidates if p.is_file()), None)
    if label_path is None:
        raise BagError(f"{path}: its label map is missing; expected {candidates[0]}")
    truth = None
    if (folder / "truth").is_dir():
        truth = tuple(_folder_truth(folder / "truth" / path.stem, bgr.shape[:2]))
    return BagFrame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), read_labels(label_path), truth, projection, str(path))


def _folder_truth(folder: Path, shape: tuple[int, int]) -> Iterator[Truth]:
    for path in sorted(folder.glob("*.png")):
        mask = read_labels(path)
        if mask.shape != shape:
            raise BagError(f"{path}: {_size(mask.shape)}, but its image is {_size(shape)}")
        if not path.stem.isdecimal() or int(path.stem) == 0:
            raise BagError(f"{path}: expected the object's id as the name, a number above 0")
        yield Truth(int(path.stem), MaskRegion.from_full(mask))


def _write_frame(bag: BagWriter, frame: BagFrame, stamp: int, compressed: bool) -> None:
    shape = frame.image.shape[:2]
    if frame.labels.shape != shape:
        raise BagError(f"{frame.name}: the image is {_size(shape)}, its label map {_size(frame.labels.shape)}")
    if compressed:
        bag.write(COMPRESSED_TOPIC, messages.compressed_image(_jpeg(frame.image), stamp), stamp)
    else:
        bag.write(IMAGE_TOPIC, messages.image(frame.image, stamp), stamp)
    bag.write(CAMERA_TOPIC, messages.camera_info(shape, frame.projection, stamp), stamp)
    bag.write(LABELS_TOPIC, messages.image(frame.labels, stamp), stamp)
    if frame.truth is not None:
        answers = list(_truth_answers(frame, stamp))
        bag.write(TRUTH_TOPIC, messages.instances(answers, shape, stamp, "ground_truth"), stamp)


def _truth_answers(frame: BagFrame, stamp: int) -> Iterator[Answer]:
    """Truth as it is published: only for objects of which something is seen, and never less than what is seen."""
    for truth in frame.truth or ():
        visible = MaskRegion.from_full(frame.labels == truth.id)
        if visible:
            completion = Completion(
                visible, truth.amodal | visible, frame.image.shape[:2], Source.GROUND_TRUTH, score=1.0
            )
            yield Answer(Instance(truth.id, visible, truth.class_id), completion, stamp)


def _jpeg(image: np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
