"""The node on what segmenters publish: real messages of their types, over real topics."""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

import foreign_messages  # noqa: E402
from ros_graph import DEADLINE, HEIGHT, WIDTH, graph, image, labels, stamp_message, two_objects  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from test_node_process import process  # noqa: E402

from amodal_ros.messages import mask_to_array  # noqa: E402
from amodal_ros.msg import AmodalInstanceArray  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # building the packages, once, takes a minute and more where cores are busy

SECOND = 1_000_000_000
NAMES = {7: "person", 9: "car"}


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    foreign_messages.use(foreign_messages.build())


def ring(mask: np.ndarray) -> list:
    from yolo_msgs.msg import Point2D

    (contour,), _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [Point2D(x=float(x), y=float(y)) for x, y in contour[:, 0]]


def yolo_detection(id: str, points: list, name: str = "car", score: float = 0.75) -> Any:
    from yolo_msgs.msg import Detection, Mask

    return Detection(id=id, class_name=name, score=score, mask=Mask(height=HEIGHT, width=WIDTH, data=points))


def yolo(stamp: int, pixels: np.ndarray) -> Any:
    from yolo_msgs.msg import DetectionArray

    found = [yolo_detection(str(v), ring(pixels == v), NAMES[v]) for v in NAMES]
    return stamped(DetectionArray(detections=found), stamp)


def detected(pixels: np.ndarray, ids: bool) -> Any:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesis, ObjectHypothesisWithPose

    array_ = Detection2DArray()
    for value, name in NAMES.items():
        hypothesis = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=name, score=0.75))
        array_.detections.append(Detection2D(id=str(value) if ids else "", results=[hypothesis]))
    return array_


def ultralytics(stamp: int, pixels: np.ndarray) -> Any:
    from ultralytics_ros.msg import YoloResult

    masks = [mono(255 * (pixels == v)) for v in NAMES]
    return stamped(YoloResult(detections=detected(pixels, ids=False), masks=masks), stamp)


def autoware(stamp: int, pixels: np.ndarray) -> Any:
    from autoware_internal_perception_msgs.msg import SegmentationMask
    from autoware_perception_msgs.msg import ObjectClassification

    order = np.searchsorted([0, *NAMES], pixels)
    kinds = [ObjectClassification(label=label, probability=0.75) for label in (7, 1)]
    return stamped(SegmentationMask(image=mono(order), classification=kinds), stamp)


def mono(values: np.ndarray) -> Image:
    height, width = values.shape
    data = array("B", values.astype(np.uint8).tobytes())
    return Image(height=height, width=width, encoding="mono8", step=width, data=data)


def stamped(message: Any, stamp: int, frame: str = "camera_optical") -> Any:
    message.header.stamp, message.header.frame_id = stamp_message(stamp), frame
    return message


def moved(k: int) -> np.ndarray:
    return np.roll(two_objects(), k - 2, axis=1)


SOURCES: dict[str, tuple[Callable[[int, np.ndarray], Any], str]] = {
    "yolo": (yolo, "yolo_msgs"),
    "ultralytics": (ultralytics, "ultralytics_ros"),
    "autoware": (autoware, "autoware_internal_perception_msgs"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_drive_is_answered_as_with_label_maps(name):
    """No parameter is set: the topic's type tells. Ids, classes, scores and shapes are those of the label maps."""
    make, _ = SOURCES[name]
    with graph(peer={"mask_type": type(make(1, two_objects()))}) as (node, peer):
        found = [peer.ask((k + 1) * SECOND // 10, None, make((k + 1) * SECOND // 10, moved(k))) for k in range(5)]
        counts = node.intake.counts()
    assert counts["image"].received == counts["image"].used == counts["instance_mask"].used == 5
    assert not counts["instance_mask"].flaws
    with graph() as (_, peer):
        expected = [peer.ask((k + 1) * SECOND // 10, None, labels((k + 1) * SECOND // 10, moved(k))) for k in range(5)]
    for got, wanted in zip(found, expected):
        assert len({instance.id for instance in got.instances}) == 2
        for instance, other in zip(got.instances, wanted.instances):
            assert instance.score == 0.75
            assert instance.visible == other.visible and instance.amodal == other.amodal
    ids = [[instance.id for instance in array_.instances] for array_ in found]
    assert ids == [ids[0]] * 5, "who has no id from the segmenter gets one that lasts"
    kinds = {"autoware": ["pedestrian", "car"]}.get(name, ["person", "car"])
    assert [instance.class_id for instance in found[-1].instances] == kinds
    if name == "yolo":
        assert ids[0] == [7, 9] and [i.track_id for i in found[0].instances] == ["7", "9"]


def test_detections_beside_a_label_image():
    """SAM 3 nodes and Isaac ROS: the image has values, a Detection2DArray of the same stamp tells what they are."""
    from vision_msgs.msg import Detection2DArray

    with graph(masks="detections", active=False) as (node, peer):
        publisher = peer.create_publisher(Detection2DArray, "detections", 10)
        peer.wait(lambda: all(p.get_subscription_count() for p in (publisher, peer.image, peer.mask)), "connected")
        publisher.publish(stamped(detected(two_objects(), ids=True), SECOND))
        answer = peer.ask(SECOND)
        assert node.intake.counts()["detections"].used == 1
    assert [(i.id, i.track_id, i.class_id) for i in answer.instances] == [(7, "7", "person"), (9, "9", "car")]


def test_each_fault_has_a_counter_and_a_line_and_the_good_rest_is_answered(capfd):
    from yolo_msgs.msg import DetectionArray, Point2D

    def points(*xy: tuple[float, float]) -> list:
        return [Point2D(x=float(x), y=float(y)) for x, y in xy]

    faults = {
        "bad_ring": yolo_detection("1", points((1, 1), (9, 9))),
        "outside_image": yolo_detection("2", points((-9, -9), (-4, -9), (-4, -4))),
        "crossed_ring": yolo_detection("3", points((2, 2), (20, 20), (20, 2), (2, 20))),
        "no_mask": yolo_detection("4", []),
        "text_id": yolo_detection("d3adbeef", ring(two_objects() == 9)),
        "low_score": yolo_detection("5", ring(two_objects() == 9), score=0.1),
    }
    found = [*faults.values(), yolo_detection("7", ring(two_objects() == 7), "person")]
    with graph(peer={"mask_type": DetectionArray}, min_score=0.2) as (_, peer):
        answer = peer.ask(SECOND, None, stamped(DetectionArray(detections=found), SECOND, "another_camera"))
        again = peer.ask(2 * SECOND, None, stamped(DetectionArray(detections=found), 2 * SECOND, "another_camera"))
        status = peer.wait_status("inputs", lambda s: s.get("instance_mask.flaws.other_frame") == "2")
    assert {k: status[f"instance_mask.flaws.{k}"] for k in faults} == dict.fromkeys(faults, "2")
    assert [(i.id, i.track_id) for i in answer.instances] == [(3, "3"), (7, "7"), (2**31, "d3adbeef")]
    assert [i.id for i in again.instances] == [3, 7, 2**31], "the same text, the same number"
    person = answer.instances[1]
    assert np.array_equal(mask_to_array(person.visible, HEIGHT, WIDTH), two_objects() == 7)
    log = capfd.readouterr().err
    for told in (
        "at least 3 points",
        "outside the image",
        "crosses itself",
        "without a mask",
        "is no number",
        "frame_id",
    ):
        assert log.count(told) == 1, told


def test_masks_and_detections_that_do_not_go_together():
    from ultralytics_ros.msg import YoloResult

    masks = [mono(255 * (two_objects() == 7)), mono(np.zeros((HEIGHT, WIDTH))), mono(255 * (two_objects() == 9))]
    result = YoloResult(detections=detected(two_objects(), ids=False), masks=masks)
    with graph(peer={"mask_type": YoloResult}) as (node, peer):
        answer = peer.ask(SECOND, None, stamped(result, SECOND))
        bad = YoloResult(detections=detected(two_objects(), ids=False), masks=[mono(np.ones((5, 24))), masks[2]])
        second = peer.ask(2 * SECOND, None, stamped(bad, 2 * SECOND))
        flaws = node.intake.counts()["instance_mask"].flaws
    assert [i.class_id for i in answer.instances] == ["person", ""] and len(second.instances) == 1
    assert flaws == {"extra_masks": 1, "empty_mask": 1, "size_mismatch": 1}


def test_overlapping_and_cut_instances():
    """Rings may overlap, which a label map cannot say; two rings of one id are one object."""
    from yolo_msgs.msg import DetectionArray

    left, right, over = (np.zeros((HEIGHT, WIDTH), bool) for _ in range(3))
    left[5:15, 2:8], right[5:15, 12:20], over[8:20, 6:16] = True, True, True
    found = [yolo_detection("4", ring(left)), yolo_detection("4", ring(right)), yolo_detection("5", ring(over))]
    with graph(peer={"mask_type": DetectionArray}) as (_, peer):
        answer = peer.ask(SECOND, None, stamped(DetectionArray(detections=found), SECOND))
    four, five = answer.instances
    assert np.array_equal(mask_to_array(four.visible, HEIGHT, WIDTH), left | right)
    assert np.array_equal(mask_to_array(five.visible, HEIGHT, WIDTH), over)


def test_labels_that_break_are_mended_where_the_node_tracks():
    """Values change from image to image, then one value holds both objects: who was seen apart is told apart."""
    with graph(track="always") as (_, peer):
        ids = []
        for k in range(10):
            pixels = two_objects()
            pixels[pixels == 9] = 7 if k >= 6 else 20 + k
            answer = peer.ask((k + 1) * SECOND // 10, None, labels((k + 1) * SECOND // 10, pixels))
            ids.append({i.id: mask_to_array(i.visible, HEIGHT, WIDTH) for i in answer.instances})
    assert [found.keys() for found in ids] == [{1, 2}] * 10
    assert all(np.mean(ids[-1][id] != ids[0][id]) < 0.02 for id in (1, 2))


def test_context_hides_and_is_no_object():
    from yolo_msgs.msg import DetectionArray

    pixels = two_objects()
    found = [yolo_detection("7", ring(pixels == 7), "person"), yolo_detection("9", ring(pixels == 9), "bench")]
    with graph(peer={"mask_type": DetectionArray}, stuff_classes=["bench"]) as (_, peer):
        answer = peer.ask(SECOND, None, stamped(DetectionArray(detections=found), SECOND))
    assert [i.id for i in answer.instances] == [7] and answer.instances[0].occlusion_ratio > 0.0


def test_masks_of_another_size_are_brought_to_the_image():
    small = cv2.resize(two_objects().astype(np.uint8), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST)
    with graph() as (node, peer):
        answer = peer.ask(SECOND, None, labels(SECOND, small, "mono8"))
        assert node.intake.counts()["instance_mask"].flaws == {"resized": 1}
        assert peer.set("mask_fit", "off").successful
        peer.send(2 * SECOND, image(2 * SECOND), labels(2 * SECOND, small, "mono8"))
        peer.wait(lambda: node.intake.counts()["image"].dropped["size_mismatch"], "refused")
    whole = mask_to_array(answer.instances[1].visible, HEIGHT, WIDTH)
    assert np.mean(whole != (two_objects() == 9)) < 0.05


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        (
            "yolo",
            "yolo_msgs/msg/DetectionArray is needed, and yolo_msgs is not installed: build it from github.com/mgonzs13",
        ),
        ("detections", "apt install ros-$ROS_DISTRO-vision-msgs"),
    ],
)
def test_a_package_that_is_missing_is_named_with_how_to_get_it(masks, told):
    """In another process, which has not sourced a workspace that has it."""
    with process("-m", "amodal_ros.node.main", "--ros-args", "-p", "model:=geometric", "-p", f"masks:={masks}") as node:
        assert told in node.line("cannot configure")


def test_a_missing_package_that_somebody_publishes_is_named(monkeypatch):
    from yolo_msgs.msg import DetectionArray

    from amodal_ros.node import mask_topics

    monkeypatch.setitem(sys.modules, "yolo_msgs.msg", None)
    with graph(active=False, peer={"mask_type": DetectionArray}) as (_, peer):
        told = "it has yolo_msgs/msg/DetectionArray: yolo_msgs/msg/DetectionArray is needed"
        peer.wait_status("inputs", lambda s: told in s.get("message", ""))
        assert "masks:=detections" in mask_topics.missing({"vision_msgs/msg/Detection2DArray"})


@contextmanager
def robot():
    """A robot's own process beside the node's. Yields its ROS node, and what spins it until something is true."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("robot", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin(done: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE
        while not done():
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.05)

    try:
        yield node, spin
    finally:
        executor.shutdown()
        node.destroy_node()
        context.shutdown()


@pytest.fixture
def sourced(monkeypatch) -> None:
    """Processes that begin now have sourced the packages' workspace."""
    for name, value in foreign_messages.environment(foreign_messages.build()).items():
        monkeypatch.setenv(name, value)


NODE = ("-m", "amodal_ros.node.main", "--ros-args", "-p", "model:=geometric")


def test_a_node_in_another_process_whose_workspace_is_sourced(sourced):
    """As the launch file starts it: only the topic is named, and what comes there tells how it is read."""
    from yolo_msgs.msg import DetectionArray

    arrays: list[Any] = []
    with robot() as (mine, spin):
        camera = mine.create_publisher(Image, "image", 10)
        segmenter = mine.create_publisher(DetectionArray, "/yolo/tracking", 10)
        mine.create_subscription(AmodalInstanceArray, "/amodal_node/instances", arrays.append, 10)
        with process(*NODE, "-r", "instance_mask:=/yolo/tracking") as node:
            node.line("listening to /yolo/tracking (yolo_msgs/msg/DetectionArray")
            spin(lambda: camera.get_subscription_count() and segmenter.get_subscription_count())
            spin(lambda: mine.count_publishers("/amodal_node/instances"))
            for k in range(1, 6):
                camera.publish(image(k * SECOND // 10))
                segmenter.publish(yolo(k * SECOND // 10, moved(k)))
                spin(lambda k=k: len(arrays) == k)
    assert [i.class_id for i in arrays[-1].instances] == ["person", "car"]


def label_info(**names: int) -> Any:
    from vision_msgs.msg import LabelInfo, VisionClass

    return LabelInfo(class_map=[VisionClass(class_id=number, class_name=name) for name, number in names.items()])


def test_names_that_were_published_once_before_the_node_was_there(sourced):
    """LabelInfo, kept for who comes late: values are classes then, also 0; the unlabelled ones are background."""
    from vision_msgs.msg import LabelInfo

    pixels = np.full((HEIGHT, WIDTH), 255, np.uint8)
    pixels[2:9, 2:9], pixels[2:9, 12:20], pixels[12:20, 2:9] = 0, 1, 2
    arrays: list[Any] = []
    with robot() as (mine, spin):
        kept = rclpy.qos.QoSProfile(depth=1, durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL)
        names = mine.create_publisher(LabelInfo, "/segmenter/label_info", kept)
        names.publish(label_info(car=0, __background__=1, person=2))
        camera, segmenter = (mine.create_publisher(Image, topic, 10) for topic in ("image", "instance_mask"))
        mine.create_subscription(AmodalInstanceArray, "/amodal_node/instances", arrays.append, 10)
        with process(*NODE, "-r", "label_info:=/segmenter/label_info") as node:
            node.line("listening to /segmenter/label_info (vision_msgs/msg/LabelInfo, reliable)")
            spin(lambda: camera.get_subscription_count() and segmenter.get_subscription_count())
            spin(lambda: mine.count_publishers("/amodal_node/instances"))
            for k in range(1, 100):
                camera.publish(image(k * SECOND // 10))
                segmenter.publish(labels(k * SECOND // 10, pixels, "mono8"))
                spin(lambda k=k: len(arrays) == k)
                if any(i.class_id for i in arrays[-1].instances):
                    break  # whatever came before the names did is answered without
    assert [(i.id, i.class_id) for i in arrays[-1].instances] == [(0, "car"), (2, "person")]


def test_a_legend_that_cannot_be_used_is_told_once_and_its_rest_is_used(capfd):
    from vision_msgs.msg import LabelInfo, VisionClass

    doubtful = [(7, "person"), (9, "car"), (9, "truck"), (4, " ")]
    with graph() as (node, peer):
        publisher = peer.create_publisher(LabelInfo, "label_info", 10)
        peer.wait(publisher.get_subscription_count, "connected")
        flaws: dict[str, int] = {}

        def tell(entries: list) -> None:
            class_map = [VisionClass(class_id=number, class_name=name) for number, name in entries]
            publisher.publish(LabelInfo(class_map=class_map))
            heard = node.intake.counts()["label_info"].received + 1
            peer.wait(lambda: node.intake.counts()["label_info"].received == heard, "heard")
            time.sleep(0.05)

        tell(doubtful)
        tell(doubtful)
        answer = peer.ask(SECOND)
        tell([])
        flaws = dict(node.intake.counts()["label_info"].flaws)
        unsaid = peer.ask(2 * SECOND)
        status = peer.wait_status("inputs", lambda s: s.get("label_info.flaws.no_names") == "1")
    assert flaws == {"two_names": 2, "no_name": 2, "no_names": 1} and status["label_info.received"] == "3"
    assert [(i.id, i.class_id) for i in answer.instances] == [(7, "person"), (9, "car")]
    assert [(i.id, i.class_id) for i in unsaid.instances] == [(7, ""), (9, "")]
    log = capfd.readouterr().err
    assert log.count("label_info: class 9 is 'car' and 'truck': the first name holds") == 1
    assert log.count("label_info: expected classes with their names in class_map, got none") == 1


def test_foxglove_gets_annotations_where_its_messages_are_installed():
    """Outlines in the image's pixels, under the image's stamp, and the words of the overlay; only if somebody looks."""
    from foxglove_msgs.msg import ImageAnnotations

    seen: list[Any] = []
    with graph() as (node, peer):
        peer.ask(SECOND)
        assert "annotations" not in node._timings.percentiles()
        peer.create_subscription(ImageAnnotations, "/amodal_node/annotations", seen.append, 5)
        peer.wait(lambda: node.count_subscribers("/amodal_node/annotations"), "somebody looks")
        answer = peer.ask(2 * SECOND)
        peer.wait(lambda: seen, "annotations")
    (array_,) = seen
    assert array_.timestamp == answer.header.stamp == array_.points[0].timestamp
    assert len(array_.texts) == len(answer.instances) and array_.texts[0].text.startswith(str(answer.instances[0].id))
    box = answer.instances[0].visible
    xs, ys = zip(*((point.x, point.y) for point in array_.points[0].points))
    assert min(xs) == box.x + 0.5 and max(xs) == box.x + box.width - 0.5
    assert min(ys) == box.y + 0.5 and max(ys) == box.y + box.height - 0.5
