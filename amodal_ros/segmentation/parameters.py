"""Every parameter of `amodal_segmenter`."""

from __future__ import annotations

from dataclasses import dataclass

from amodal_ros.stream.options import Options, option, options_of


@dataclass(frozen=True)
class SegmenterParameters(Options):
    """The parameters of `amodal_segmenter`.

    Raises:
        ValueError: a value that is no choice.
    """

    model: str = option("", "Folder or hub id of an instance segmentation model of transformers")
    device: str = option("auto", "'auto' (CUDA if there is one), or a torch device such as 'cpu' or 'cuda:0'")
    classes: tuple[str, ...] = option(("",), "Names of the classes that count; empty: all that the model knows")
    min_score: float = option(0.5, "Objects that the model is less sure of are left out", between=(0.0, 1.0))
    image_transport: str = option(
        "raw", "Type of the topic image: sensor_msgs Image or CompressedImage", choices=("raw", "compressed")
    )
    autostart: bool = option(True, "Configure and activate without being asked")


SEGMENTER_OPTIONS = options_of(SegmenterParameters)
