"""Every parameter of `amodal_node`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from amodal_ros.scene import Occluders
from amodal_ros.stream.options import Options, option, options_of


@dataclass(frozen=True)
class Parameters(Options):
    """The node's parameters.

    Raises:
        ValueError: a value that is no choice, or that does not go with another one.
    """

    model: str = option(
        "embedded", "'geometric' (no network), 'embedded' (shipped weights), another profile, or a model folder"
    )
    segmenter: str = option("", "A segmenter's folder or .pth file; empty: the model's own")
    device: str = option("auto", "'auto' (CUDA if there is one), or a torch device such as 'cpu' or 'cuda:0'")
    occluders: Occluders | Literal[""] = option(  # noqa: RUF009 - a string, as the others
        "",
        "What can hide an object: labelled neighbours; these and what use_depth shows to be nearer; these and all "
        "unlabelled pixels; or anything. Empty: depth with use_depth, else what the model's profile says",
        choices=("", "instances", "depth", "any", "off"),
    )
    live: bool = option(True, "Remember completions over frames and refine them behind the answers")
    live_budget: float = option(
        1.0, "If live: share of the time that the model may work behind the answers; 0: never", between=(0.0, 1.0)
    )
    live_batch: int = option(1, "If live: objects per call of the model; a GPU takes several", between=(1, 64))
    live_preference: float = option(
        0.1,
        "If live: what the model made of an object is shown unless memory or geometry is expected to be better by so "
        "much IoU; 0: whatever is expected to be best; 1: the model's whenever it explains what is seen",
        between=(0.0, 1.0),
    )
    frame_budget: float = option(
        0.1,
        "Seconds per frame for completions; objects beyond it are answered GEOMETRIC. Not used if live",
        between=(0.0, 600.0),
        live=True,
    )
    image_transport: str = option(
        "raw", "Type of the topic image: sensor_msgs Image or CompressedImage", choices=("raw", "compressed")
    )
    masks: str = option(
        "auto",
        "What instance_mask carries: label maps, yolo_ros' DetectionArray, ultralytics_ros' YoloResult, an image with "
        "the Detection2DArray of the topic detections, Autoware's SegmentationMask; auto: seen from the topic's type",
        choices=("auto", "labels", "yolo", "ultralytics", "detections", "autoware"),
    )
    mask_fit: str = option(
        "auto",
        "Masks of another size than the image: scaled where they have its proportions, else refused; scaled anyway; "
        "scaled between the bars of a letterbox; refused",
        choices=("auto", "stretch", "letterbox", "off"),
        live=True,
    )
    track: str = option(
        "auto",
        "Who gives objects their ids: this node where the masks come without; always this node; never",
        choices=("auto", "always", "never"),
    )
    min_score: float = option(0.0, "Detections with a lower score are left out", between=(0.0, 1.0), live=True)
    stuff_classes: tuple[str, ...] = option(
        ("",), "Names of classes that are context: not completed, but they can hide objects", live=True
    )
    background: int = option(
        0,
        "The value of label images that is nobody: 0, or 255 of DepthAI, where 0 is an object",
        between=(0, 65535),
        live=True,
    )
    ignore_labels: tuple[int, ...] = option(
        (-1,), "More values of label images that are background: 255 of VOC; -1: none", live=True
    )
    use_depth: bool = option(
        False, "Wait for a depth image too; it decides who is in front, and shows what hides without a label"
    )
    label_divisor: int = option(
        0,
        "If > 0, label // label_divisor is the class, and labels below it (where there are none: its multiples) are "
        "stuff: no objects, but they can hide",
        between=(0, 2**31 - 1),
        live=True,
    )
    class_names: tuple[str, ...] = option(
        ("",), "Class names by class number; of label maps they need label_divisor", live=True
    )
    max_objects: int = option(
        256, "A label map with more objects is refused as broken", between=(1, 100_000), live=True
    )
    pair_slop: float = option(
        0.0, "Seconds by which stamps of image and mask may differ; 0: exact", between=(0.0, 10.0)
    )
    pair_buffer: float = option(
        2.0, "Seconds that a message waits for its partners: the segmenter's latency and more", between=(0.01, 600.0)
    )
    pair_buffer_mb: int = option(256, "Megabytes that may wait for partners in all", between=(1, 65536))
    catch_up: float = option(
        0.1,
        "After a hiccup frames that wait are answered in order while that delays the newest by at most so many "
        "seconds, else only the newest; 0: always only the newest",
        between=(0.0, 1.0),
        live=True,
    )
    autostart: bool = option(True, "Configure and activate without being asked")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.occluders == "depth" and not self.use_depth:
            raise ValueError("occluders: 'depth' needs use_depth, got use_depth false")
        if any(self.class_names) and not self.label_divisor and self.masks in ("auto", "labels"):
            raise ValueError("class_names: expected label_divisor > 0, which tells the class, got 0")


OPTIONS = options_of(Parameters)
