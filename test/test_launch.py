"""The launch files, each executed with every argument, and what the node makes of the command line that comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy")

import launch_stand_in as stand_in  # noqa: E402
import yaml  # noqa: E402
from builders import save_mask2former  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch"
#: argument -> (as written, value that the node must get); beside these only topics, name, namespace and params_file
VALUES = {
    "model": ("geometric", "geometric"),
    "segmenter": ("/models/sam", "/models/sam"),
    "device": ("0", "0"),
    "occluders": ("off", "off"),
    "live": ("false", False),
    "live_budget": ("1", 1.0),
    "live_batch": ("2", 2),
    "live_preference": ("0.2", 0.2),
    "frame_budget": ("0.25", 0.25),
    "image_transport": ("compressed", "compressed"),
    "masks": ("yolo", "yolo"),
    "mask_fit": ("letterbox", "letterbox"),
    "track": ("always", "always"),
    "min_score": ("0.5", 0.5),
    "stuff_classes": ("[bench]", ["bench"]),
    "background": ("255", 255),
    "ignore_labels": ("[255, 254]", [255, 254]),
    "use_depth": ("true", True),
    "label_divisor": ("1000", 1000),
    "class_names": ("[car, '7']", ["car", "7"]),
    "max_objects": ("99", 99),
    "pair_slop": ("1e-2", 0.01),
    "pair_buffer": ("1", 1.0),
    "pair_buffer_mb": ("64", 64),
    "catch_up": ("0", 0.0),
    "autostart": ("False", False),
    "use_sim_time": ("true", True),
}


@pytest.fixture(autouse=True)
def launch(monkeypatch) -> Iterator[None]:
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"):
        monkeypatch.delenv(name, raising=False)
    stand_in.install(monkeypatch)
    yield
    for path in Path("/tmp").glob("launch_params_*"):
        if path.stat().st_uid == os.getuid():
            path.unlink(missing_ok=True)


@pytest.fixture
def robot(tmp_path, monkeypatch):
    """Packages that are not installed here, with executables of these names."""

    def install(**packages: str) -> None:
        for package, executable in packages.items():
            (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True, exist_ok=True)
            (tmp_path / "share/ament_index/resource_index/packages" / package).touch()
            program = tmp_path / "lib" / package / executable
            program.parent.mkdir(parents=True)
            program.touch(0o755)
        monkeypatch.setenv("AMENT_PREFIX_PATH", f"{os.environ['AMENT_PREFIX_PATH']}{os.pathsep}{tmp_path}")

    return install


def node_of(command: list[str]):
    """The node that a command line makes."""
    from amodal_ros.node.node import AmodalNode

    context = rclpy.context.Context()
    rclpy.init(args=command[1:], context=context)
    return AmodalNode(context=context), context


def test_every_argument_reaches_the_node_with_its_type():
    from amodal_ros.stream.parameters import OPTIONS

    declared = stand_in.declared(LAUNCH / "amodal.launch.py")
    topics = {"image": "/cam/image", "instance_mask": "/labels", "detections": "/found", "depth": "/depth"}
    topics["label_info"] = "/classes"
    assert set(declared) == {*VALUES, *topics, "params_file", "name", "namespace", "respawn", "segmenter_model"}
    assert set(OPTIONS) <= set(VALUES) and all(argument.description for argument in declared.values())
    given = {name: text for name, (text, _) in VALUES.items()}
    (process,) = stand_in.execute(
        LAUNCH / "amodal.launch.py", **given, **topics, name="eyes", namespace="front"
    ).processes
    node, context = node_of(process.cmd)
    try:
        assert node.get_fully_qualified_name() == "/front/eyes"
        for name, (_, value) in VALUES.items():
            got = node.get_parameter(name).value
            assert (got, type(got)) == (value, type(value)), name
        for name, topic in topics.items():
            assert node.resolve_topic_name(name) == topic
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_only_a_camera_and_a_model(tmp_path):
    """The model's classes and the labels' topic reach the node; a model that is not there is named at once."""
    save_mask2former(tmp_path)
    segmenter, amodal = stand_in.execute(
        LAUNCH / "amodal.launch.py", image="/cam/image", segmenter_model=str(tmp_path), model="geometric"
    ).processes
    assert segmenter.cmd[0].endswith("amodal_segmenter") and "image:=/cam/image" in segmenter.cmd
    node, context = node_of(amodal.cmd)
    try:
        assert node.resolve_topic_name("instance_mask") == "/amodal_segmenter/labels"
        assert node.get_parameter("class_names").value == ["", "car", "person"]
        assert node.get_parameter("label_divisor").value == 10_000
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    with pytest.raises(ValueError, match="is not on this machine"):
        stand_in.execute(LAUNCH / "amodal.launch.py", segmenter_model="someone/model")


@pytest.mark.parametrize("name", ["live", "live_batch", "pair_slop", "class_names", "ignore_labels", "respawn"])
def test_each_argument_that_cannot_be_read_is_named(name):
    with pytest.raises(ValueError, match=rf"argument {name}: expected .*, got 'maybe'"):
        stand_in.execute(LAUNCH / "amodal.launch.py", **{name: "maybe"})


def test_a_node_that_has_died_is_started_again_if_asked_for():
    for text, wanted in {"true": True, "false": False}.items():
        (process,) = stand_in.execute(LAUNCH / "amodal.launch.py", respawn=text).processes
        assert process.action.respawn is wanted


def test_arguments_win_over_a_file_that_names_the_node(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.dump({"/amodal_node": {"ros__parameters": {"max_objects": 5, "live_batch": 3}}}))
    (process,) = stand_in.execute(LAUNCH / "amodal.launch.py", params_file=str(mine), max_objects="7").processes
    node, context = node_of(process.cmd)
    try:
        assert node.get_parameter("max_objects").value == 7 and node.get_parameter("live_batch").value == 3
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_a_file_of_parameters_that_is_missing_or_flat_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: No such file"):
        stand_in.execute(LAUNCH / "amodal.launch.py", params_file=str(tmp_path / "nowhere.yaml"))
    (tmp_path / "flat.yaml").write_text("model: geometric")
    with pytest.raises(ValueError, match=r"flat\.yaml: expected .*, found no ros__parameters"):
        stand_in.execute(LAUNCH / "amodal.launch.py", params_file=str(tmp_path / "flat.yaml"))


def test_the_demo_plays_answers_and_shows(tmp_path, robot):
    from amodal_ros import cli

    arguments = {"bag": str(tmp_path), "rate": "2", "image": "/i", "instance_mask": "/m", "namespace": "front"}
    assert set(stand_in.declared(LAUNCH / "demo.launch.py")) == {*arguments, "loop", "viewer"} - {"namespace"}
    context = stand_in.execute(LAUNCH / "demo.launch.py", **arguments, model="geometric")
    player, node = context.processes
    assert "rqt_image_view is not installed; the overlay is on /front/amodal_node/overlay" in context.logged
    assert player.cmd[1:4] == ["bag", "play", str(tmp_path)] and player.env == node.env == {}
    with pytest.raises(SystemExit) as ended:  # the command line is one that the player takes
        cli.main([*player.cmd[1:], "--help"])
    assert ended.value.code == 0 and player.cmd[4:] == ["--rate", "2", "--clock", "--loop", "--wait-for", "/i", "/m"]
    made, inner = node_of(node.cmd)
    assert made.get_parameter("use_sim_time").value and made.get_parameter("model").value == "geometric"
    assert made.resolve_topic_name("instance_mask") == "/m"
    made.destroy_node()
    rclpy.shutdown(context=inner)
    (together,) = context.handlers  # no process outlives another
    assert together.target is None and isinstance(together.entities[0], stand_in.Shutdown)

    robot(rqt_image_view="rqt_image_view")
    *_, viewer = stand_in.execute(LAUNCH / "demo.launch.py", **arguments, loop="false").processes
    assert viewer.cmd[1] == "/front/amodal_node/overlay"
    assert len(stand_in.execute(LAUNCH / "demo.launch.py", **arguments, viewer="false").processes) == 2


def test_the_demo_starts_nothing_without_its_bag(tmp_path):
    with pytest.raises(ValueError, match=r"argument bag: expected the folder of a bag, got .*nobag"):
        stand_in.execute(LAUNCH / "demo.launch.py", bag=str(tmp_path / "nobag"))
    with pytest.raises(RuntimeError, match='"bag" was not provided'):
        stand_in.execute(LAUNCH / "demo.launch.py")


def test_two_cameras_have_a_node_each():
    context = stand_in.execute(LAUNCH / "two_cameras.launch.py", cameras="left, right", image="image_raw")
    for side, process in zip(("left", "right"), context.processes, strict=True):
        assert f"__ns:=/{side}" in process.cmd and "image:=image_raw" in process.cmd


def test_launch_leads_the_node_through_its_states():
    from lifecycle_msgs.msg import Transition

    context = stand_in.execute(LAUNCH / "lifecycle.launch.py")
    (process,) = context.processes
    assert stand_in_parameters(process)["autostart"] is False
    (first,), (handler,) = context.events, context.handlers
    assert first.transition == Transition.TRANSITION_CONFIGURE and first.matches(process.action)
    assert (handler.target, handler.goal) == (process.action, "inactive")
    assert handler.entities[0].event.transition == Transition.TRANSITION_ACTIVATE


def test_navigation_leads_the_node_without_a_bond(robot):
    robot(nav2_lifecycle_manager="lifecycle_manager")
    node, manager = stand_in.execute(LAUNCH / "nav2.launch.py", name="eyes").processes
    assert stand_in_parameters(node)["autostart"] is False
    assert stand_in_parameters(manager) == {"autostart": True, "node_names": ["eyes"], "bond_timeout": 0.0}


def stand_in_parameters(process: stand_in.Process) -> dict:
    """The parameters that launch itself gives to a process."""
    path = [word for word in process.cmd if "launch_params_" in word][-1]
    (section,) = yaml.safe_load(Path(path).read_text()).values()
    return section["ros__parameters"]


def test_obstacles_follow_the_first_node_and_share_its_parameters():
    from amodal_ros.node.obstacles.node import ObstacleNode
    from amodal_ros.stream.obstacle_parameters import OBSTACLE_OPTIONS

    assert set(OBSTACLE_OPTIONS) <= set(stand_in.declared(LAUNCH / "obstacles.launch.py"))
    first, second = stand_in.execute(
        LAUNCH / "obstacles.launch.py",
        name="eyes",
        namespace="front",
        model="geometric",
        camera_info="/cam/info",
        camera_height="1.65",
        class_thickness="[car=1.8]",
        use_depth="true",
    ).processes
    assert first.cmd[0].endswith("amodal_node") and second.cmd[0].endswith("amodal_obstacles")
    context = rclpy.context.Context()
    rclpy.init(args=second.cmd[1:], context=context)
    node = ObstacleNode(context=context)
    try:
        assert node.get_fully_qualified_name() == "/front/amodal_obstacles"
        assert node.resolve_topic_name("instances") == "/front/eyes/instances"
        assert node.resolve_topic_name("camera_info") == "/cam/info"
        given = {"camera_height": 1.65, "class_thickness": ["car=1.8"], "use_depth": True, "max_range": 50.0}
        assert {name: node.get_parameter(name).value for name in given} == given
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_the_costmap_file_marks_and_never_clears():
    content = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text())
    layers = content["local_costmap"]["local_costmap"]["ros__parameters"]
    sources = [layer["amodal"] for layer in layers.values() if isinstance(layer, dict) and "amodal" in layer]
    assert len(sources) == 2  # the obstacle layer's and the voxel layer's
    for source in sources:
        assert source["topic"] == "/amodal_obstacles/obstacles" and source["data_type"] == "PointCloud2"
        assert source["marking"] is True and source["clearing"] is False
    assert all(name in layers for name in layers["plugins"])
