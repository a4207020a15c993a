"""Small data sets on disk, in the documented formats. Every builder returns the root."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 40, 60


def write_image(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def rectangle(x: int, y: int, width: int, height: int, shape=(HEIGHT, WIDTH)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def rle(mask: np.ndarray, compressed: bool = True) -> dict:
    """Run lengths as they stand in JSON: counts as str, or as a plain list."""
    if compressed:
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    pixels = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels.astype(int)])) != 0)
    runs = np.diff(np.concatenate([[0], edges, [pixels.size]]))
    return {"size": list(mask.shape), "counts": [int(r) for r in runs]}


def polygon(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def region(x, y, width, height, order, hidden=None, **changes) -> dict:
    """A COCO-A region: a rectangle, with a hidden rectangle in it or None."""
    amodal = rectangle(x, y, width, height)
    entry = {
        "segmentation": polygon(x, y, width, height),
        "name": "Dougnut ",
        "area": int(amodal.sum()),
        "isStuff": 0,
        "occlude_rate": 0,
        "order": order,
    }
    if hidden:
        invisible = amodal & rectangle(*hidden)
        rate = float(invisible.sum() / amodal.sum())
        entry |= {
            "visible_mask": rle(amodal & ~invisible),
            "invisible_mask": rle(invisible),
            "occlude_rate": rate,
        }
    return {**entry, **changes}


def annotation(number: int, image_id: int, regions: list[dict], author: str = "a") -> dict:
    return {
        "id": number,
        "image_id": image_id,
        "author": author,
        "url": "",
        "size": len(regions),
        "depth_constraint": "",
        "regions": regions,
    }


def coco_a(root: Path, annotations: list[dict], images: int = 1) -> Path:
    """COCO-A's layout, split val; image k has id 10 + k."""
    names = [f"COCO_val2014_{k:012d}.jpg" for k in range(images)]
    for name in names:
        write_image(root / "val2014" / name)
    content = {
        "images": [
            {"id": 10 + k, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1, "date_captured": ""}
            for k, name in enumerate(names)
        ],
        "annotations": annotations,
    }
    return write_json(root, "annotations/COCO_amodal_val2014.json", content)


def write_json(root: Path, name: str, content: object) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))
    return root


def kins(root: Path, version: int = 2020, **changes) -> Path:
    """KINS, split test: one image with a car that a van half hides, and the van; `changes` go into the car."""
    write_image(root / "testing" / "image_2" / "000007.png")
    car_visible, car, van = rectangle(5, 10, 10, 12), (5, 10, 20, 12), (15, 8, 20, 16)
    common = {"image_id": 3, "category_id": 4}
    if version == 2020:
        objects = [
            {
                "id": 1,
                **common,
                "a_segm": [polygon(*car)],
                "i_segm": [polygon(5, 10, 10, 12)],
                "oco_id": 1,
                "ico_id": 2,
            },
            {"id": 2, **common, "category_id": 7, "a_segm": [polygon(*van)], "i_segm": [polygon(*van)], "oco_id": 1},
        ]
    else:
        objects = [
            {"id": 1, **common, "iscrowd": 0, "segmentation": [polygon(*car)], "inmodal_seg": rle(car_visible)},
            {"id": 2, **common, "category_id": 7, "segmentation": [polygon(*van)], "inmodal_seg": rle(rectangle(*van))},
        ]
    objects[0] |= changes
    name = "update_test_2020.json" if version == 2020 else "instances_val.json"
    content = {
        "images": [{"id": 3, "file_name": "000007.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": objects,
        "categories": [{"id": 4, "name": "car"}, {"id": 7, "name": "van"}],
    }
    return write_json(root, name, content)


def sailvos(root: Path, **changes) -> Path:
    """SAIL-VOS, split valid: a whole person (with the usual boundary gap) and a half hidden car."""
    write_image(root / "scene_a" / "images" / "000003.bmp")
    person, car, seen = rectangle(2, 2, 20, 25), rectangle(25, 5, 20, 10), rectangle(25, 5, 10, 10)
    common = {"image_id": 5, "iscrowd": 0, "occlu_depth": 0, "model_id": 1}
    objects = [
        {"id": 1, **common, "category_id": 1, "obj_id": 11, "segmentation": rle(person), "visible_mask": rle(person)},
        {"id": 2, **common, "category_id": 7, "obj_id": 12, "segmentation": rle(car), "visible_mask": rle(seen)},
    ]
    objects[0]["occlude_rate"] = 0.002
    objects[1] |= {"occlude_rate": 0.5, "invisible_mask": rle(car & ~seen), **changes}
    content = {
        "videos": [{"id": 9}],
        "images": [
            {
                "id": 5,
                "video_id": 9,
                "frame_id": 3,
                "file_name": "scene_a/images/000003.bmp",
                "width": WIDTH,
                "height": HEIGHT,
            }
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 7, "name": "car"}],
        "models": [],
        "annotations": objects,
    }
    return write_json(root, "valid.json", content)


FISH_SHAPE = (320, 480)


def fish_masks(frames: int) -> dict[int, tuple[list[np.ndarray], list[np.ndarray]]]:
    """fish id -> (visible, amodal) per frame; fish 8 swims behind fish 3, which is in front."""
    front = [rectangle(200, 100, 60, 60, FISH_SHAPE)] * frames
    behind = [rectangle(100 + 5 * t, 110, 60, 30, FISH_SHAPE) for t in range(frames)]
    return {3: (front, front), 8: ([b & ~f for b, f in zip(behind, front)], behind)}


def fishbowl_generated(root: Path, frames: int = 16, postprocessed: bool = False) -> Path:
    """One video of the generator: list positions differ from fish ids."""
    fish = fish_masks(frames)

    def entry(number, masks):
        return {
            "id": number,
            "type_id": 1,
            "type_name": "MediumFishB",
            "speed": 1.0,
            "scale": 1.0,
            "masks": [rle(m) for m in masks],
        }

    write_json(root, "00001/objects.json", [entry(number, fish[number][0]) for number in (8, 3)])
    write_json(root, "00001/recording.json", {})
    for position, number in enumerate((8, 3)):
        name = f"00001/object{position:03d}" if postprocessed else f"00001_object{number}"
        write_json(root, f"{name}/objects.json", [entry(number, fish[number][1])])
    video = cv2.VideoWriter(str(root / "00001/video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30, FISH_SHAPE[::-1])
    for t in range(frames):
        video.write(np.full((*FISH_SHAPE, 3), 10 * t, np.uint8))
    video.release()
    return root


def fishbowl_release(root: Path, frames: int = 16) -> Path:
    """SaVos' layout of the same video."""
    content = {}
    for number, (visible, amodal) in fish_masks(frames).items():
        content[f"00001_{number}"] = {
            t: {
                "VM": {"size": list(FISH_SHAPE), "counts": rle(v)["counts"].encode()},
                "FM": {"size": list(FISH_SHAPE), "counts": rle(a)["counts"].encode()},
                "VM_bx": np.array([0, 1, 0, 1]),
                "FM_bx": np.array([0, 1, 0, 1]),
                "OCC_R": np.float64(1 - v.sum() / a.sum()),
                "IoU": 0.5,
                "loss_mask_weight": 1.0,
                "fish_type": 1,
            }
            for t, (v, a) in enumerate(zip(visible, amodal))
        }
    for t in range(frames):
        write_image(root / "test_data" / "test_frames" / "00001" / f"{t:05d}.png", *FISH_SHAPE)
    (root / "test_data" / "test_data.pkl").write_bytes(pickle.dumps(content))
    return root


def case_folder(root: Path, name: str = "case", occluder: bool = True, **meta) -> Path:
    """One case of a plain folder: a box half hidden."""
    write_image(root / name / "image.png")
    masks = {"inst_00_modal": rectangle(5, 5, 10, 10), "inst_00_amodal": rectangle(5, 5, 20, 10)}
    if occluder:
        masks["occluder"] = rectangle(15, 0, 20, 30)
    for file, mask in masks.items():
        cv2.imwrite(str(root / name / f"{file}.png"), mask.astype(np.uint8) * 255)
    if meta:
        write_json(root, f"{name}/meta.json", meta)
    return root
