"""Where a bag's frames come from: a folder, a synthetic street, a data set."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from amodal_ros.io import IMAGE_SUFFIXES, bit_depth, images_in, natural, read_labels, read_mask, read_pixels, rgb_of
from amodal_ros.lab.bags.files import BagError
from amodal_ros.lab.bags.make import BagFrame, Truth
from amodal_ros.lab.datasets.base import Dataset, Sample
from amodal_ros.lab.datasets.street_world.camera import Camera
from amodal_ros.lab.datasets.streets import StreetFrame, sequence
from amodal_ros.scene import MaskRegion

#: What data sets add to the names of images and label maps that belong together.
_ENDINGS = re.compile(r"(_leftImg8bit|_gtFine_instanceIds|_instanceIds)$")
#: Label maps that Cityscapes puts beside its instance maps.
_OTHER_MAPS = re.compile(r"_(color|labelIds|labelTrainIds|instanceTrainIds)$")
#: A longer synthetic drive is made of several, each along a street of its own.
LEG = 20.0  # seconds
LEG_SEEDS = 10_000  # from one leg's seed to the next


def folder_frames(
    folder: Path | str,
    images: str = "images",
    labels: str = "labels",
    calibration: Path | str | None = None,
    ignore: Collection[int] = (),
    colours_are_ids: bool = False,
) -> Iterator[BagFrame]:
    """Frames of a folder, in the natural order of their names (2 before 10).

    Per image ``images/NAME.jpg`` a label map ``labels/NAME.png`` (`io.read_image`, `io.read_labels`; Cityscapes'
    endings are known). Truth is optional: ``truth/NAME/ID.png``, one mask (`io.read_mask`) per object, set where the
    whole object is.

    Args:
        images, labels: the two folders' names inside `folder`, for data that is laid out otherwise
            (KITTI MOTS: ``image_02/0000`` and ``instances/0000``).
        calibration: a KITTI calibration file, or a folder with one per image (``NAME.txt``); the camera that the images
            are from (`camera_of`) becomes the camera info.
        ignore: values of the label maps that become background, such as VOC's 255.
        colours_are_ids: as for `io.read_labels`.

    Raises:
        BagError: a folder or label map is missing, or two files have one name.
        ReadError: a picture cannot be read or is of another size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BagError(f"{folder}: no such folder; expected one that holds {images}/ and {labels}/")
    for part in (images, labels):
        if not (folder / part).is_dir():
            raise BagError(f"{folder}: expected a folder {part}/ in it")
    pictures = _by_name(images_in(folder / images))
    if not pictures:
        raise BagError(f"{folder / images}: no image in it; expected {', '.join(IMAGE_SUFFIXES)}")
    maps = _by_name(p for p in images_in(folder / labels) if not _OTHER_MAPS.search(p.stem))
    calibrated = _Calibration(calibration, camera_of(folder / images))
    return _folder_frames(folder, pictures, maps, folder / labels, calibrated, ignore, colours_are_ids)


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
        calibration: a folder with a KITTI calibration file per image, ``NAME.txt``; missing ones are left out. The
            camera is the one that the image is from (`camera_of`).
    """
    for sample in dataset:
        image = sample.file or Path(sample.frame_id)
        file = None if calibration is None else Path(calibration) / f"{image.stem}.txt"
        projection = read_projection(file, camera_of(image)) if file is not None and file.is_file() else None
        yield _dataset_frame(sample, projection)


def camera_of(path: Path) -> int:
    """KITTI's number of the camera that an image is from, by its folder: ``image_2`` is 2, ``image_03/data`` is 3.

    Without such a folder 2, the left colour camera.
    """
    numbers = [match[1] for part in path.parts if (match := re.fullmatch(r"image_0?([0-3])", part))]
    return int(numbers[-1]) if numbers else 2


def read_projection(path: Path | str, camera: int = 2) -> np.ndarray:
    """A camera's projection matrix, float (3, 4), from a KITTI calibration file.

    Args:
        camera: 0 and 1 are the grey, 2 and 3 the colour cameras, left and right.

    Raises:
        BagError: no such file, or it has no line ``P2:`` or ``P_rect_02:`` (for camera 2) with 12 numbers.
    """
    if not Path(path).is_file():
        raise BagError(f"{path}: no such calibration file")
    for line in Path(path).read_text(errors="replace").splitlines():
        key, _, values = line.partition(":" if ":" in line else " ")
        if key.strip() in (f"P{camera}", f"P_rect_0{camera}"):
            try:
                return np.array([float(v) for v in values.split()]).reshape(3, 4)
            except ValueError:
                break
    raise BagError(f"{path}: expected a line 'P{camera}:' or 'P_rect_0{camera}:' with 12 numbers")


class _Calibration:
    """Projection matrices by image name: always the same, one file per image, or none."""

    def __init__(self, path: Path | str | None, camera: int) -> None:
        self.camera = camera
        self.folder = Path(path) if path is not None and Path(path).is_dir() else None
        self.fixed = None if path is None or self.folder is not None else read_projection(path, camera)

    def __call__(self, name: str) -> np.ndarray | None:
        return self.fixed if self.folder is None else read_projection(self.folder / f"{name}.txt", self.camera)


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Image files by what they share with their label maps' names.

    Raises:
        BagError: two of one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(_ENDINGS.sub("", path.stem), path)
        if other is not path:
            raise BagError(f"{path}: expected one file of that name, but there is {other.name} too")
    return found


def _folder_frames(
    folder: Path,
    pictures: dict[str, Path],
    maps: dict[str, Path],
    labels_folder: Path,
    calibrated: _Calibration,
    ignore: Collection[int],
    colours_are_ids: bool,
) -> Iterator[BagFrame]:
    bits = 8
    for name, path in pictures.items():
        pixels = read_pixels(path)
        if pixels.values.dtype == np.uint16:
            bits = max(bits, bit_depth(pixels.values))
        image = rgb_of(pixels, path, bits)
        if name not in maps:
            raise BagError(f"{path}: its label map is missing; expected {labels_folder / name}.png")
        labels = read_labels(maps[name], image.shape[:2], colours_are_ids)
        labels = np.where(np.isin(labels, list(ignore)), labels.dtype.type(0), labels)
        truth = None
        if (folder / "truth").is_dir():
            truth = tuple(_folder_truth(folder / "truth" / path.stem, image.shape[:2]))
        yield BagFrame(image, labels, truth, calibrated(path.stem), str(path))


def _folder_truth(folder: Path, shape: tuple[int, int]) -> Iterator[Truth]:
    for path in sorted(folder.glob("*.png"), key=natural):
        if not path.stem.isdecimal() or int(path.stem) == 0:
            raise BagError(f"{path}: expected the object's id as the name, a number above 0")
        yield Truth(int(path.stem), MaskRegion.from_full(read_mask(path, shape)))


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
