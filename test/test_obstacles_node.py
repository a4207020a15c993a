"""`amodal_obstacles` over real topics: clouds, markers and detections, and what it says of input that it cannot use."""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

import foreign_messages  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from ros_graph import Peer, image, move_to_a_new_domain, peer_of, spinning, stamp_message  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2  # noqa: E402
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from amodal_ros.msg import AmodalInstance, AmodalInstanceArray, Mask  # noqa: E402
from amodal_ros.node.executor import NodeExecutor  # noqa: E402
from amodal_ros.node.obstacles.node import ObstacleNode  # noqa: E402
from amodal_ros.node.obstacles.outgoing import POINT  # noqa: E402
from amodal_ros.node.outgoing import mask_message  # noqa: E402
from amodal_ros.scene import MaskRegion  # noqa: E402
from amodal_ros.space import Rigid  # noqa: E402

SECOND = 1_000_000_000
WIDTH, HEIGHT, FOCAL = 320, 160, 200.0
CX, CY = 160.0, 60.0
#: 10 m away a camera at 1.5 m sees the ground 30 rows below the horizon.
FOOT = 60 + 30
#: Topics that a test need not publish on.
MAYBE = ("/depth", "/tf", "/tf_static")


class ObstaclePeer(Peer):
    """Publishes arrays, camera and depth; keeps clouds and markers."""

    def meet(self, *_: type) -> None:
        self.clouds: list[PointCloud2] = []
        self.markers: list[MarkerArray] = []
        self.instances = self.create_publisher(AmodalInstanceArray, "instances", 20)
        self.depth = self.create_publisher(Image, "depth", 20)
        # Published once, for whoever comes: a calibration need not be sent with every image.
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.camera = self.create_publisher(CameraInfo, "camera_info", kept)
        self.create_subscription(PointCloud2, "/amodal_obstacles/obstacles", self._keep(self.clouds), 20)

    def watch_markers(self) -> None:
        self.create_subscription(MarkerArray, "/amodal_obstacles/markers", self._keep(self.markers), 5)

    def ask(self, stamp: int, message: AmodalInstanceArray | None = None, depth: Image | None = None) -> np.ndarray:
        """The cloud for an array, as its points."""
        self.instances.publish(message or instances(stamp))
        if depth is not None:
            self.depth.publish(depth)
        wanted = stamp_message(stamp)
        (cloud,) = self.wait(lambda: [c for c in self.clouds if c.header.stamp == wanted], f"a cloud for {stamp}")
        return np.frombuffer(cloud.data, POINT)


@contextmanager
def running(camera: CameraInfo | None = None, **parameters: object) -> Iterator[tuple[ObstacleNode, ObstaclePeer]]:
    """A running node and its peer, who know each other."""
    move_to_a_new_domain()
    parameters.setdefault("camera_height", 1.5)
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = ObstacleNode(context=context, parameter_overrides=overrides)
        executor = NodeExecutor(slow=node.slow, context=context)
        with spinning(context, executor, node), peer_of(node, ObstaclePeer) as peer:
            try:
                peer.camera.publish(camera or camera_info())
                if parameters.get("autostart", True):
                    heard = [peer.instances, *([peer.depth] if parameters.get("use_depth") else [])]
                    peer.wait(
                        lambda: (
                            all(p.get_subscription_count() for p in heard)
                            and all(s.get_publisher_count() for s in node.subscriptions if s.topic_name not in MAYBE)
                            and node.count_publishers("/amodal_obstacles/obstacles")
                            and peer.count_publishers("/amodal_obstacles/obstacles")
                            and node.intake.counts()["camera_info"].received
                        ),
                        "the node and its peer know each other",
                    )
                yield node, peer
            finally:
                node.close()
    finally:
        context.shutdown()


def camera_info(frame: str = "camera_optical", **changes: object) -> CameraInfo:
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob")
    info.k = np.array([FOCAL, 0, CX, 0, FOCAL, CY, 0, 0, 1.0])
    info.p = np.array([FOCAL, 0, CX, 0, 0, FOCAL, CY, 0, 0, 0, 1.0, 0])
    info.header.frame_id = frame
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def region(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def instance(ident: int = 7, foot: int = FOOT, x: int = 150, **changes: object) -> AmodalInstance:
    """An object 20 pixels wide and 40 high, of which the upper half is seen."""
    seen, whole = region(x, foot - 40, 20, 20), region(x, foot - 40, 20, 40)
    fields = {
        "class_id": "car",
        "visible": mask_message(seen),
        "amodal": mask_message(whole),
        "possible": mask_message(whole),
        "occlusion_ratio": 0.5,
        "source": AmodalInstance.INFERRED,
        "expected_iou": 0.8,
        **changes,
    }
    return AmodalInstance(id=ident, **fields)


def instances(stamp: int, *given: AmodalInstance, frame: str = "camera_optical") -> AmodalInstanceArray:
    message = AmodalInstanceArray(image_width=WIDTH, image_height=HEIGHT, model="geometric")
    message.header.stamp, message.header.frame_id = stamp_message(stamp), frame
    message.instances = list(given or (instance(),))
    for each in message.instances:
        if not each.inferred_at.sec:
            each.inferred_at = message.header.stamp
    return message


def wall(stamp: int, metres: float, frame: str = "camera_optical", shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Image:
    message = image(stamp, np.full(shape, metres, np.float32), "32FC1")
    message.header.frame_id = frame
    return message


def test_an_object_stands_where_its_hidden_foot_meets_the_ground():
    with running() as (_, peer):
        peer.watch_markers()
        points = peer.ask(SECOND)
        assert points["z"].min() == pytest.approx(10, rel=0.02)  # its visible half alone would stand 30 m away
        assert points["z"].max() == pytest.approx(10.5, rel=0.02)  # half a metre thick
        assert set(points["id"]) == {7} and set(points["source"]) == {AmodalInstance.INFERRED}
        hidden = points["hidden"] == 1
        front = points["z"] < points["z"].min() + 0.05
        assert points["y"][hidden & front].min() > points["y"][~hidden].max()  # y points down
        (cloud,) = peer.clouds
        assert cloud.header.frame_id == "camera_optical" and cloud.point_step == POINT.itemsize
        assert [f.name for f in cloud.fields] == ["x", "y", "z", "hidden", "id", "source"]
        peer.wait(lambda: peer.count_publishers("/amodal_obstacles/markers"), "the markers' publisher")
        peer.wait(lambda: peer.markers or not peer.ask(SECOND + len(peer.clouds) * 10**8).size, "markers")
        first, *rest = peer.markers[0].markers
        assert first.action == Marker.DELETEALL
        assert [(m.ns, m.id) for m in rest] == [("visible", 7), ("hidden", 7), ("label", 7)]
        assert rest[0].color.a == 1 > rest[1].color.a and rest[2].text.startswith("car 7: 50% hidden, 10.")
        status = peer.wait_status("obstacles", lambda s: s.get("objects.ground") == "1")
        assert status["message"].startswith("1 answers") or int(status["answered"]) >= 1


def test_with_depth_hidden_points_stand_behind_what_hides_them():
    with running(use_depth=True, camera_height=0.0) as (_, peer):
        depth = np.full((HEIGHT, WIDTH), 12.0, np.float32)
        depth[FOOT - 20 :] = 6.0  # something near covers the lower half
        message = image(SECOND, depth, "32FC1")
        points = peer.ask(SECOND, depth=message)
        low = points[points["y"] > 1]  # the foot, which the near thing covers
        assert (low["hidden"] == 1).all() and low["z"] == pytest.approx(12, abs=0.2)
        assert points["z"].max() == pytest.approx(12.5, abs=0.1)
        millimetres = image(2 * SECOND, (depth * 1000).astype(np.uint16), "16UC1")
        assert len(peer.ask(2 * SECOND, depth=millimetres)) == len(points)


def test_an_old_or_uncertain_shape_is_not_used_but_what_is_seen_is():
    with running(max_age=0.5, min_expected_iou=0.5, thickness=0.0) as (_, peer):
        old = instance(1, inferred_at=stamp_message(SECOND))
        doubtful, unknown = instance(2, x=50, expected_iou=0.4), instance(3, x=200, expected_iou=float("nan"))
        points = peer.ask(3 * SECOND, instances(3 * SECOND, old, doubtful, unknown, instance(4, x=250)))
        assert {i: bool((points["hidden"][points["id"] == i] == 1).any()) for i in (1, 2, 3, 4)} == {
            1: False, 2: False, 3: False, 4: True,
        }  # fmt: skip
        assert peer.set("min_expected_iou", 0.0).successful
        points = peer.ask(4 * SECOND, instances(4 * SECOND, instance(2, expected_iou=0.4)))
        assert (points["hidden"] == 1).any()


def test_classes_range_and_cubes():
    with running(classes=["car"], max_range=20.0, voxel_size=0.5) as (_, peer):
        far = instance(2, foot=60 + 10, x=20)  # 30 m
        points = peer.ask(SECOND, instances(SECOND, instance(1), far, instance(3, class_id="dog")))
        assert set(points["id"]) == {1}
        cubes = np.floor(np.stack([points[a] for a in "xyz"], 1) / 0.5)
        assert len(np.unique(cubes, axis=0)) == len(points)
        status = peer.wait_status("obstacles", lambda s: s.get("unplaced.class") == "1")
        assert status["unplaced.range"] == "1" and status["level"] == b"\0"


BROKEN = Mask(x=0, y=0, width=9, height=9, data=array("B", [1]))


@pytest.mark.parametrize(
    ("broken", "reason", "line"),
    [
        ({"foot": 50}, "above_horizon", "above the horizon"),
        ({"visible": BROKEN}, "bad_mask", "object 9 is left out"),
        ({"visible": Mask()}, "bad_mask", "nothing of it is visible"),
    ],
)
def test_an_object_that_cannot_be_placed_takes_no_other_with_it(broken, reason, line, capfd):
    with running() as (_, peer):
        for k in (1, 2, 3):
            points = peer.ask(k * SECOND, instances(k * SECOND, instance(9, x=20, **broken), instance(7)))
            assert set(points["id"]) == {7}
        status = peer.wait_status("obstacles", lambda s: s.get(f"unplaced.{reason}") == "3")
        assert status["objects"] == "1"
    assert capfd.readouterr().err.count(line) == 1


@pytest.mark.parametrize(
    ("depth", "reason", "line"),
    [
        (wall(SECOND, 8.0, shape=(HEIGHT, 100)), "size_mismatch", "expected the masks' size 320x160, got 100x160"),
        (wall(SECOND, 8.0, frame="depth_optical"), "depth_frame", "'depth_optical', expected it registered to"),
        (image(SECOND, np.zeros((HEIGHT, WIDTH), np.uint8), "mono8"), "bad_depth", "expected 32FC1 in metres"),
        (wall(SECOND, float("nan")), "", ""),
        (wall(SECOND, 0.0), "", ""),
        (wall(SECOND, float("inf")), "", ""),
    ],
)
def test_depth_that_cannot_be_used_leaves_the_ground(depth, reason, line, capfd):
    depth.header.frame_id = "camera_optical" if depth.encoding == "mono8" else depth.header.frame_id
    with running(use_depth=True) as (_, peer):
        assert peer.ask(SECOND, depth=depth)["z"].min() == pytest.approx(10, rel=0.02)
        if reason:
            peer.wait_status("obstacles", lambda s: s.get(f"depth_unused.{reason}") == "1")
    assert capfd.readouterr().err.count(line or "no such line") == bool(line)


def test_depth_alone_that_shows_nothing_loses_only_its_object(capfd):
    with running(use_depth=True, camera_height=0.0) as (_, peer):
        depth = np.full((HEIGHT, WIDTH), 12.0, np.float32)
        depth[:, 200:] = np.nan
        both = instances(SECOND, instance(1), instance(2, x=210))
        assert set(peer.ask(SECOND, both, image(SECOND, depth, "32FC1"))["id"]) == {1}
        peer.wait_status("obstacles", lambda s: s.get("unplaced.no_depth") == "1")
    assert "object 2 is left out: only 0 of its 400 visible pixels have a depth" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("camera", "frame", "reason", "line"),
    [
        (camera_info(k=np.zeros(9), p=np.zeros(12)), "camera_optical", "bad_camera_info", "not calibrated"),
        (camera_info("left_optical"), "camera_optical", "camera_frame", "'left_optical' and the masks are of"),
        (camera_info(width=100), "camera_optical", "bad_camera_info", "images of 100x160 and the masks are of 320x160"),
    ],
)
def test_a_camera_that_cannot_be_used_drops_arrays_until_a_better_one_comes(camera, frame, reason, line, capfd):
    with running(camera) as (_, peer):
        for k in (1, 2):
            peer.instances.publish(instances(k * SECOND, frame=frame))
        status = peer.wait_status("obstacles", lambda s: s.get(f"dropped.{reason}") == "2")
        assert status["answered"] == "0" and not peer.clouds  # an empty cloud would say that nothing is there
        peer.camera.publish(camera_info(frame))
        peer.wait(lambda: peer.under_test.intake.counts()["camera_info"].received == 2, "the better camera")
        assert len(peer.ask(3 * SECOND))
    assert capfd.readouterr().err.count(line) == 1


def test_without_camera_info_the_log_names_the_topic(capfd):
    with running() as (node, peer):
        peer.destroy_publisher(peer.camera)
        node._worker.camera_info = None
        peer.instances.publish(instances(SECOND))
        peer.wait_status("obstacles", lambda s: s.get("dropped.no_camera_info") == "1")
        peer.wait_status("inputs", lambda s: "no camera_info on /camera_info" in s["message"])
    assert "waiting for a sensor_msgs/msg/CameraInfo on /camera_info" in capfd.readouterr().err


def test_masks_of_the_raw_image_get_straight_rays(capfd):
    bent = camera_info(d=[-0.3, 0.1, 0.0, 0.0, 0.0])
    corner = instance(7, x=290)
    seen = {}
    for rectified in (True, False):
        with running(bent, rectified=rectified) as (_, peer):
            seen[rectified] = peer.ask(SECOND, instances(SECOND, corner))
        lines = capfd.readouterr().err
        assert ("has a lens distortion" in lines) == rectified
    assert seen[False]["x"].max() / seen[False]["z"].max() > seen[True]["x"].max() / seen[True]["z"].max()


def test_nothing_to_place_objects_by_fails_configure_and_can_be_mended(capfd):
    with running(camera_height=0.0, autostart=False) as (_, peer):
        assert not peer.change(Transition.TRANSITION_CONFIGURE) and peer.state() == "unconfigured"
        assert peer.set("camera_height", 1.5).successful
        assert peer.change(Transition.TRANSITION_CONFIGURE) and peer.change(Transition.TRANSITION_ACTIVATE)
        assert not peer.set("use_depth", True).successful
        refused = peer.set("class_thickness", ["car"])
        assert not refused.successful and "CLASS=METRES" in refused.reason
        assert peer.change(Transition.TRANSITION_DEACTIVATE) and peer.change(Transition.TRANSITION_CLEANUP)
    assert "camera_height: expected metres above the ground" in capfd.readouterr().err


def test_every_array_of_a_drive_at_10_hz_is_answered():
    with running() as (node, peer):
        for k in range(1, 31):
            peer.instances.publish(instances(k * 10**8, *(instance(i, x=14 * i) for i in range(1, 21))))
            time.sleep(0.1)
        peer.wait(lambda: node.intake.counts()["instances"].used == 30, "all are answered")


# --- vision_msgs, built by rosidl with the real names and fields -----------------------------------------------------


@pytest.fixture(scope="module")
def vision_msgs():
    foreign_messages.use(foreign_messages.build())
    import vision_msgs.msg

    return vision_msgs.msg


def test_boxes_stand_on_the_ground_with_the_axes_of_a_body(vision_msgs):
    with running(class_thickness=["car=1.8"]) as (_, peer):
        boxes: list = []
        topic = "/amodal_obstacles/detections_3d"
        peer.create_subscription(vision_msgs.Detection3DArray, topic, peer._keep(boxes), 5)
        peer.wait(lambda: peer.under_test.count_subscribers(topic), "the node knows of the subscriber")
        peer.wait(lambda: boxes or not peer.ask((len(peer.clouds) + 1) * SECOND, two(peer)).size, "boxes")
        header, (first, second) = boxes[0].header, boxes[0].detections
        assert header.frame_id == "camera_optical" and (first.id, second.id) == ("7", "track-a")
        (result,) = first.results
        assert result.hypothesis.class_id == "car" and result.hypothesis.score == pytest.approx(0.8)  # expected IoU
        assert second.results[0].hypothesis.score == pytest.approx(0.9)  # the detector's
        size, centre, turned = first.bbox.size, first.bbox.center.position, first.bbox.center.orientation
        assert (size.x, size.y, size.z) == pytest.approx((1.8, 1.0, 2.0), abs=0.2)  # 20 and 40 pixels at 10 m
        assert centre.z == pytest.approx(10.9, abs=0.2) and centre.y == pytest.approx(0.5, abs=0.15)
        q = (turned.x, turned.y, turned.z, turned.w)
        forward, up = Rigid.of_quaternion(*q, (0.0, 0.0, 0.0)).rotation[:, [0, 2]].T
        np.testing.assert_allclose((forward, up), ((0, 0, 1), (0, -1, 0)), atol=1e-6)
        assert result.pose.covariance[14] > 1 > result.pose.covariance[0] == 0  # 10 m, or 30 by what is seen


def two(peer: ObstaclePeer) -> AmodalInstanceArray:
    tracked = instance(8, x=50, score=0.9, track_id="track-a")
    return instances((len(peer.clouds) + 1) * SECOND, instance(7, score=float("nan")), tracked)


def test_a_calibration_that_came_once_is_not_missed():
    with running() as (_, peer):
        said = peer.wait_status("inputs", lambda s: "no instances" in s["message"])
        assert "camera_info" not in said["message"]


def test_calibrations_that_were_lost_on_their_way_are_counted():
    with running() as (node, peer):
        node._inputs["camera_info"]._lose(3)  # as the middleware's event does
        assert int(peer.wait_status("inputs", lambda s: "camera_info.lost" in s)["camera_info.lost"]) == 3


# --- TF: tf2_ros comes with ROS packages only, so its interface is stood in for -----------------------------------


class Tf2(ModuleType):
    """`Buffer` and `TransformListener` with the signatures and the errors of tf2_ros."""

    def __init__(self) -> None:
        super().__init__("tf2_ros")
        self.known: dict[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {}
        outer = self

        class Buffer:
            def __init__(self, cache_time: object = None, node: object = None) -> None:
                pass

            def lookup_transform(self, target_frame: str, source_frame: str, time: object, timeout: object) -> object:
                if (target_frame, source_frame) not in outer.known:
                    raise LookupError(f'"{target_frame}" passed to lookupTransform does not exist.')
                t, q = outer.known[target_frame, source_frame]
                vector = SimpleNamespace(**dict(zip("xyz", t)))
                return SimpleNamespace(
                    transform=SimpleNamespace(translation=vector, rotation=SimpleNamespace(**dict(zip("xyzw", q))))
                )

        class TransformListener:
            def __init__(self, buffer: Buffer, node: object) -> None:
                pass

            def unregister(self) -> None:
                pass

        self.Buffer, self.TransformListener = Buffer, TransformListener


@pytest.fixture
def tf2(monkeypatch):
    module = Tf2()
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    return module


#: From the optical frame to a base on the ground below the camera (REP 103).
MOUNTED = ((0.0, 0.0, 1.5), (-0.5, 0.5, -0.5, 0.5))


def test_ground_and_target_frame_come_from_tf(tf2, capfd):
    tf2.known["base_footprint", "camera_optical"] = MOUNTED
    with running(ground="tf", target_frame="base_footprint", camera_height=0.0) as (_, peer):
        points = peer.ask(SECOND)
        assert points["x"].min() == pytest.approx(10, rel=0.02) and -0.1 < points["z"].min() < points["z"].max() < 2.1
        assert peer.clouds[0].header.frame_id == "base_footprint"
        tf2.known.clear()
        for k in (2, 3):
            peer.instances.publish(instances(k * SECOND))
        peer.wait_status("obstacles", lambda s: s.get("dropped.no_transform") == "2")
        tf2.known["base_footprint", "camera_optical"] = MOUNTED
        assert len(peer.ask(4 * SECOND)) and len(peer.clouds) == 2
    assert capfd.readouterr().err.count("no transform from 'camera_optical' to 'base_footprint'") == 1


def test_the_real_tf2_places_objects_where_the_robot_was_at_their_stamp(capfd):
    tf2_ros = pytest.importorskip("tf2_ros")
    from geometry_msgs.msg import TransformStamped

    def transform(parent: str, child: str, stamp: int, moved: tuple, turned: tuple) -> TransformStamped:
        found = TransformStamped(child_frame_id=child)
        found.header.frame_id, found.header.stamp = parent, stamp_message(stamp)
        for part, axes, values in (
            (found.transform.translation, "xyz", moved),
            (found.transform.rotation, "xyzw", turned),
        ):
            for axis, value in zip(axes, values):
                setattr(part, axis, value)
        return found

    def drives(stamp: int, metres: float) -> TransformStamped:
        return transform("odom", "base_footprint", stamp, (metres, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))

    with running(ground="tf", target_frame="odom", camera_height=0.0) as (_, peer):
        moving, fixed = tf2_ros.TransformBroadcaster(peer), tf2_ros.StaticTransformBroadcaster(peer)
        fixed.sendTransform(transform("base_footprint", "camera_optical", 0, *MOUNTED))
        peer.wait(lambda: moving.pub_tf.get_subscription_count(), "the node listens to TF")
        peer.instances.publish(instances(9 * SECOND))  # nothing is known of then
        peer.wait_status("obstacles", lambda s: s.get("dropped.no_transform") == "1")
        moving.sendTransform([drives(10 * SECOND, 100.0), drives(12 * SECOND, 104.0)])
        points = peer.ask(11 * SECOND)  # half way
        assert points["x"].min() == pytest.approx(112, abs=0.3) and -0.1 < points["z"].min() < points["z"].max() < 2.1
        assert peer.clouds[0].header.frame_id == "odom"
    assert capfd.readouterr().err.count("no transform from 'camera_optical' to") == 1


@pytest.mark.parametrize("asked", [{"ground": "tf"}, {"target_frame": "map"}])
def test_tf_that_is_not_installed_is_named(asked, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    with running(autostart=False, **asked) as (_, peer):
        assert peer.change(Transition.TRANSITION_CONFIGURE)
        assert not peer.change(Transition.TRANSITION_ACTIVATE) and peer.state() == "inactive"
    assert "needs tf2_ros: apt install ros-" in capfd.readouterr().err
