"""Where a bag's frames come from: a folder, a synthetic street, a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from amodal_ros.bags.files import BagError
from amodal_ros.bags.make import BagFrame, Truth, size_text
from amodal_ros.datasets.base import Dataset, Sample, read_image
from amodal_ros.datasets.street_world.camera import Camera
from amodal_ros.datasets.streets import StreetFrame, sequence
from amodal_ros.scene import MaskRegion

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
LABEL_SUFFIXES = (".png", ".tif", ".tiff")
#: A longer synthetic drive is made of several, each along a street of its own.
LEG = 20.0  # seconds
LEG_SEEDS = 10_000  # from one leg's seed to the next


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
        calibration: a KITTI calibration file, or a folder with one per image (``NAME.txt``); ``P2`` or ``P_rect_02``
            becomes the camera info.

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
    calibrated = _Calibration(calibration)
    return (_folder_frame(folder, path, labels, calibrated(path.stem)) for path in paths)


def streets_frames(
    seconds: float = 20.0,
    objects: int = 10,
    rate: float = 10.0,
    size: tuple[int, int] = (1242, 375),
    seed: int = 0,
) -> Iterator[BagFrame]:
    """A synthetic drive with exact truth (`datasets.streets`). Only vehicles, people and animals carry labels.

    Every 20 s another street begins; time goes on, and no id comes twice.

    Args:
        objects: things along each street, poles and trees included; about a third is labelled and in view at once.
        size: (width, height) in pixels.

    Raises:
        BagError: a figure out of range.
    """
    if not (seconds > 0 and 0 < rate <= 1000):
        raise BagError(f"expected seconds above 0 and a rate in (0, 1000], got {seconds} and {rate}")
    count, leg = round(seconds * rate), max(1, round(LEG * rate))
    starts = range(0, count, leg)
    if len(starts) * objects >= 2**16:
        raise BagError(f"expected fewer than 65536 objects in all, got {len(starts)} streets of {objects}")
    streets = [
        sequence(seed + LEG_SEEDS * k, min(leg, count - start), size[::-1], objects, rate)
        for k, start in enumerate(starts)
    ]
    camera = Camera.for_size(size[1], size[0])
    projection = np.array([[camera.focal, 0, camera.cx, 0], [0, camera.focal, camera.cy, 0], [0, 0, 1, 0]], float)
    return (_street_frame(frame, projection, k * objects) for k, street in enumerate(streets) for frame in street)


def dataset_frames(dataset: Dataset, calibration: Path | str | None = None) -> Iterator[BagFrame]:
    """Every frame of a data set, one after the other, as if they were consecutive.

    The label map holds the objects and whatever else is labelled in the frame. An object keeps its data set's id where
    that is a number; otherwise it is numbered within its frame.

    Args:
        calibration: a folder with a KITTI calibration file per frame, ``FRAME_ID.txt``; missing ones are left out.
    """
    for sample in dataset:
        file = None if calibration is None else Path(calibration) / f"{sample.frame_id}.txt"
        projection = read_projection(file) if file is not None and file.is_file() else None
        yield _dataset_frame(sample, projection)


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


class _Calibration:
    """Projection matrices by image name: always the same, one file per image, or none."""

    def __init__(self, path: Path | str | None) -> None:
        self.folder = Path(path) if path is not None and Path(path).is_dir() else None
        self.fixed = None if path is None or self.folder is not None else read_projection(path)

    def __call__(self, name: str) -> np.ndarray | None:
        return self.fixed if self.folder is None else read_projection(self.folder / f"{name}.txt")


def _folder_frame(folder: Path, path: Path, labels: str, projection: np.ndarray | None) -> BagFrame:
    image = read_image(path)
    candidates = [folder / labels / f"{path.stem}{suffix}" for suffix in LABEL_SUFFIXES]
    label_path = next((p for p in candidates if p.is_file()), None)
    if label_path is None:
        raise BagError(f"{path}: its label map is missing; expected {candidates[0]}")
    truth = None
    if (folder / "truth").is_dir():
        truth = tuple(_folder_truth(folder / "truth" / path.stem, image.shape[:2]))
    return BagFrame(image, read_labels(label_path), truth, projection, str(path))


def _folder_truth(folder: Path, shape: tuple[int, int]) -> Iterator[Truth]:
    for path in sorted(folder.glob("*.png")):
        mask = read_labels(path)
        if mask.shape != shape:
            raise BagError(f"{path}: {size_text(mask.shape)}, but its image is {size_text(shape)}")
        if not path.stem.isdecimal() or int(path.stem) == 0:
            raise BagError(f"{path}: expected the object's id as the name, a number above 0")
        yield Truth(int(path.stem), MaskRegion.from_full(mask))


def _street_frame(frame: StreetFrame, projection: np.ndarray, first_id: int) -> BagFrame:
    labels = np.zeros(frame.shape, np.uint16)
    things = [thing for thing in frame.objects if thing.labelled and thing.visible]
    for thing in things:
        labels[thing.visible.window(0, 0, frame.shape[1], frame.shape[0])] = first_id + thing.id
    truth = tuple(Truth(first_id + thing.id, thing.amodal, thing.class_id) for thing in things)
    return BagFrame(frame.image, labels, truth, projection)


def _dataset_frame(sample: Sample, projection: np.ndarray | None) -> BagFrame:
    numbered = all(o.id.isdecimal() and 0 < int(o.id) < 2**31 - 1000 for o in sample.objects)
    ids = [int(o.id) if numbered else i for i, o in enumerate(sample.objects, 1)]
    free = max(ids, default=0) + 1
    regions = [(region, free + i) for i, region in enumerate(sample.context)]
    # Annotators' visible masks can overlap by a few pixels; there the less occluded object, the nearer one, counts.
    order = sorted(zip(sample.objects, ids), key=lambda pair: -pair[0].occlusion)
    regions += [(thing.visible, id) for thing, id in order]
    labels = np.zeros(sample.shape, np.int32)
    for region, value in regions:
        inside = region.clip(*sample.shape)
        labels[inside.y : inside.y + inside.height, inside.x : inside.x + inside.width][inside.bits] = value
    truth = tuple(Truth(id, o.amodal, o.class_id) for o, id in zip(sample.objects, ids))
    return BagFrame(sample.read_image(), labels, truth, projection, sample.frame_id)
