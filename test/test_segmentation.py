"""Only a camera: a small random model of the real class, label maps with ids that last, and bags of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import save_mask2former

from amodal_ros import cli
from amodal_ros.errors import ModelError
from amodal_ros.lab.bags import sources
from amodal_ros.lab.bags.files import BagError, BagReader
from amodal_ros.lab.bags.label import label
from amodal_ros.lab.bags.make import IMAGE_TOPIC, LABELS_TOPIC, write_frames
from amodal_ros.scene import MaskRegion
from amodal_ros.segmentation.labeller import DIVISOR, Labeller
from amodal_ros.segmentation.model import InstanceSegmenter, class_names, find
from amodal_ros.stream.images import labels_of, rgb_of
from amodal_ros.stream.masks import Seen
from amodal_ros.stream.masks.labels import cut


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_mask2former(tmp_path_factory.mktemp("mask2former"))


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    bag = tmp_path_factory.mktemp("bags") / "drive"
    write_frames(sources.streets_frames(0.3, 6, 10.0, (160, 96), 3), bag, 10.0)
    return bag


def test_a_model_segments_an_image_as_its_library_does(model):
    import torch
    from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    segmenter = InstanceSegmenter(str(model), "cpu")
    seen = segmenter.segment(image, 0.0)
    assert segmenter.names == class_names(model) == ["car", "person"]
    processor = AutoImageProcessor.from_pretrained(model)
    with torch.inference_mode():
        outputs = Mask2FormerForUniversalSegmentation.from_pretrained(model).eval()(
            **processor(images=image, return_tensors="pt")
        )
    expected = processor.post_process_instance_segmentation(outputs, threshold=0.0, target_sizes=[(60, 80)])[0]
    found = {s["id"]: s for s in expected["segments_info"] if (expected["segmentation"] == s["id"]).any()}
    assert len(seen) == len(found) > 0
    for one, (number, info) in zip(seen, found.items()):
        assert np.array_equal(one.mask.full(60, 80), (expected["segmentation"] == number).numpy())
        assert one.class_id == segmenter.names[info["label_id"]] and one.score == pytest.approx(info["score"])
    assert segmenter.segment(image, 1.0) == []


def test_a_model_that_is_not_there_or_no_segmenter_is_named(tmp_path, model):
    with pytest.raises(ModelError, match=r"is not on this machine .* `hf download someone/model"):
        find("someone/model")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        find(str(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (other / "preprocessor_config.json").write_text((model / "preprocessor_config.json").read_text())
    with pytest.raises(ModelError, match="segmentation model"):
        InstanceSegmenter(str(other))
    with pytest.raises(ValueError, match="the model knows car, person; got tree"):
        Labeller(InstanceSegmenter(str(model), "cpu"), ["tree"])


class Moving:
    """A car that drives to the right over a person, found in another order in every image."""

    names = ("person", "car")

    def __init__(self) -> None:
        self.names, self.count = ["person", "car"], 0

    def segment(self, image: np.ndarray, min_score: float = 0.5) -> list[Seen]:
        car = Seen(MaskRegion(10 + 4 * self.count, 20, np.ones((16, 30), bool)), None, "car", 0.9)
        person = Seen(MaskRegion(50, 8, np.ones((40, 10), bool)), None, "person", 0.9)
        self.count += 1
        return [car, person] if self.count % 2 else [person, car]


def test_label_maps_keep_ids_and_say_classes():
    labeller, image = Labeller(Moving()), np.zeros((60, 120, 3), np.uint8)
    maps = [labeller.label(image, (k + 1) * 100_000_000) for k in range(5)]
    found = [cut(labels, DIVISOR, tuple(labeller.class_names)) for labels in maps]
    assert all(not labelled.stuff for labelled in found)
    assert {tuple((i.id, i.class_id) for i in labelled.instances) for labelled in found} == {
        ((1 * DIVISOR + 2, "person"), (2 * DIVISOR + 1, "car"))
    }


def test_a_bag_is_labelled_and_the_rest_of_it_is_as_it_was(model, drive, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["bag", "label", str(drive), str(out), "--model", str(model), "--min-score", "0", "--device", "cpu"]
    assert cli.main([*command, "--labels", "/seg"]) == 0
    said = capsys.readouterr().out
    assert (
        "3 images labelled on /seg" in said and f"label_divisor:={DIVISOR}" in said and '["", "car", "person"]' in said
    )
    with BagReader(drive) as before, BagReader(out) as after:
        assert [r for r in after.records() if r.topic != "/seg"] == list(before.records())
        images = [r.message() for r in after.records([IMAGE_TOPIC])]
        labels = [r.message() for r in after.records(["/seg"])]
    for image, message in zip(images, labels):
        assert message.header == image.header
        assert labels_of(message).shape == rgb_of(image).shape[:2]
    assert any(labels_of(message).any() for message in labels)


def test_bags_that_cannot_be_labelled_are_named(drive, tmp_path):
    with pytest.raises(BagError, match="has /segmentation/labels already"):
        label(drive, tmp_path / "a", lambda image, stamp: image, labels_topic=LABELS_TOPIC)
    with pytest.raises(BagError, match="expected images on /other; it has /camera"):
        label(drive, tmp_path / "b", lambda image, stamp: image, "/other", "/seg")
    assert not list(tmp_path.iterdir())
