"""The node in a real graph: what goes in, what comes out."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from builders import save_stable_diffusion
from ros_graph import HEIGHT, WIDTH, Scripted, graph, image, labels, two_objects
from sensor_msgs.msg import CompressedImage

from amodal_ros.messages import mask_to_array, nanoseconds
from amodal_ros.msg import AmodalInstance
from amodal_ros.stream.answerers import load
from amodal_ros.stream.parameters import Parameters

SECOND = 1_000_000_000


def test_every_object_is_answered_under_the_images_header():
    with graph() as (_, peer):
        array = peer.ask(5 * SECOND + 123)
    assert array.header == image(5 * SECOND + 123).header
    assert (array.image_width, array.image_height, array.model) == (WIDTH, HEIGHT, "geometric")
    seven, nine = array.instances
    assert (seven.id, nine.id) == (7, 9)
    truth = two_objects()
    for instance in (seven, nine):
        visible = mask_to_array(instance.visible, HEIGHT, WIDTH)
        assert np.array_equal(visible, truth == instance.id)
        assert not (visible & ~mask_to_array(instance.amodal, HEIGHT, WIDTH)).any()
        assert nanoseconds(instance.inferred_at) == 5 * SECOND + 123
    assert seven.source == AmodalInstance.GEOMETRIC and list(seven.occluders) == [9]
    assert 0.0 < seven.occlusion_ratio < 0.5
    assert nine.source == AmodalInstance.UNOCCLUDED and nine.occlusion_ratio == 0.0


def test_all_background_gives_an_empty_array():
    with graph() as (_, peer):
        array = peer.ask(SECOND, mask_message=labels(SECOND, np.zeros((HEIGHT, WIDTH), np.uint16)))
    assert array.instances == [] and array.image_width == WIDTH


@pytest.mark.parametrize(
    ("dtype", "encoding", "value"),
    [
        (np.uint8, "mono8", 255),
        (np.uint8, "8UC1", 1),
        (np.uint16, "mono16", 65535),
        (np.uint16, "16UC1", 300),
        (np.int32, "32SC1", 2**31 - 1),
    ],
)
def test_label_encodings_keep_the_whole_value(dtype, encoding, value):
    pixels = np.zeros((HEIGHT, WIDTH), dtype)
    pixels[5:9, 6:12] = value
    with graph() as (_, peer):
        array = peer.ask(SECOND, mask_message=labels(SECOND, pixels, encoding))
    assert [instance.id for instance in array.instances] == [value]


def test_label_divisor_names_classes_and_leaves_stuff_out():
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    pixels[:4] = 2000  # stuff of class 2
    pixels[6:10, 5:9], pixels[12:16, 5:9], pixels[12:16, 15:19] = 1001, 2005, 9001
    with graph(label_divisor=1000, class_names=["void", "car", "tree"]) as (_, peer):
        array = peer.ask(SECOND, mask_message=labels(SECOND, pixels))
        assert [(i.id, i.class_id) for i in array.instances] == [(1001, "car"), (2005, "tree"), (9001, "")]
        assert peer.set("class_names", ["", "vehicle"]).successful  # counts from the next frame on
        array = peer.ask(2 * SECOND, mask_message=labels(2 * SECOND, pixels))
    assert [i.class_id for i in array.instances] == ["vehicle", "", ""]


def test_compressed_images():
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    message = CompressedImage(format="png", data=cv2.imencode(".png", pixels)[1].tobytes())
    message.header = image(SECOND).header
    with graph(image_transport="compressed", peer={"image_type": CompressedImage}) as (_, peer):
        array = peer.ask(SECOND, message)
        broken = CompressedImage(format="jpeg", data=b"\x00\x01")
        broken.header = image(2 * SECOND).header
        peer.send(2 * SECOND, broken)
        peer.wait_status("answers", lambda s: s.get("dropped.bad_image") == "1")
    assert array.image_width == WIDTH and len(array.instances) == 2


def test_depth_decides_who_is_in_front():
    from sensor_msgs.msg import Image

    metres = np.where(two_objects() == 9, 30.0, 4.0).astype(np.float32)  # 9 is far behind 7 after all
    with graph(use_depth=True) as (_, peer):
        depth = peer.create_publisher(Image, "depth", 5)
        peer.wait(depth.get_subscription_count, "the node listens to depth")
        depth.publish(image(SECOND, metres, "32FC1"))
        array = peer.ask(SECOND)
        millimetres = (metres * 1000).astype(np.uint16)
        depth.publish(image(2 * SECOND, millimetres, "16UC1"))
        again = peer.ask(2 * SECOND)
    for instances in (array.instances, again.instances):
        assert list(instances[0].occluders) == [] and list(instances[1].occluders) == [7]


def test_the_overlay_is_drawn_only_for_those_who_watch():
    with graph() as (node, peer):
        peer.ask(SECOND)
        assert "overlay" not in node._timings.percentiles()
        peer.watch_overlay()
        peer.wait(lambda: node.count_subscribers("/amodal_node/overlay"), "the overlay is watched")
        peer.ask(2 * SECOND)
        picture = peer.wait(lambda: peer.overlays, "an overlay")[0]
    assert picture.header == image(2 * SECOND).header
    assert (picture.width, picture.height, picture.encoding) == (WIDTH, HEIGHT, "rgb8")
    assert np.frombuffer(picture.data, np.uint8).any()


class Forgetful(Scripted):
    """Fails whenever it is to prepare for the next frame."""

    def prepare(self) -> None:
        self.calls.append("prepare")
        raise OSError("no memory for this")


def test_what_fails_after_an_answer_costs_no_frame():
    answerer = Forgetful()
    with graph(answerer) as (_, peer):
        for k in (1, 2, 3):
            peer.ask(k * SECOND)
        status = peer.wait_status("answers", lambda s: s.get("answered") == "3")
    assert status["dropped"] == "0" and answerer.calls.count("prepare") == 3


def test_received_is_answered_plus_dropped_by_reason():
    with graph() as (_, peer):
        for k in range(1, 21):
            peer.send(k * SECOND // 10)
        peer.image.publish(image(30 * SECOND))  # never gets a mask
        status = peer.wait_status("answers", lambda s: s.get("dropped.unpaired") == "1")
        inputs = peer.status("inputs")
    dropped = sum(int(n) for key, n in status.items() if key.startswith("dropped."))
    assert int(status["received"]) == int(status["answered"]) + dropped and status["waiting"] == "0"
    assert int(status["dropped"]) == dropped
    masks = {key.removeprefix("instance_mask."): value for key, value in inputs.items() if key.startswith("instance")}
    dropped = sum(int(n) for key, n in masks.items() if key.startswith("dropped."))
    assert int(masks["received"]) == int(masks["paired"]) + dropped and masks["waiting"] == "0"


def test_latency_and_stage_times_are_told():
    with graph() as (_, peer):
        peer.ask(time.time_ns())
        status = peer.wait_status("answers", lambda s: "latency.p95_ms" in s)
    for stage in ("wait", "decode", "answer", "publish", "latency"):
        assert 0.0 <= float(status[f"{stage}.p50_ms"]) <= float(status[f"{stage}.p95_ms"])
    assert 0.0 < float(status["staleness_s"]) < 30.0
    assert status["objects"] == "2" and status["objects.GEOMETRIC"] == "1"


@pytest.mark.parametrize(("parameter", "wanted"), [("", "any"), ("off", "off")])
@pytest.mark.parametrize("network", [False, True])
def test_a_profiles_occluders_reach_the_node_and_its_parameter_overrides_them(tmp_path, network, parameter, wanted):
    base = str(save_stable_diffusion(tmp_path / "model")) if network else "geometric"
    (tmp_path / "mine.yaml").write_text(f"extends: {base}\nsettings: {{occluders: any}}\n")
    parameters = Parameters(model=str(tmp_path / "mine.yaml"), occluders=parameter, live=False, device="cpu")
    assert load(parameters).occluders == wanted
