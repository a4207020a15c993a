"""Message packages of segmenters that people run, with the names and fields of theirs, built by rosidl for tests.

They are built once into ``build/foreign`` and stay out of the environment: a user has them or has not.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "build" / "foreign"

#: package -> (packages it needs, message -> fields).
PACKAGES: dict[str, tuple[list[str], dict[str, str]]] = {
    "vision_msgs": (
        ["std_msgs", "geometry_msgs"],
        {
            "Point2D": "float64 x\nfloat64 y",
            "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
            "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
            "ObjectHypothesis": "string class_id\nfloat64 score",
            "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
            "Detection2D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id",
            "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections",
            "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
            "Detection3D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\nstring id",
            "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
            "VisionClass": "uint16 class_id\nstring class_name",
            "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
        },
    ),
    "yolo_msgs": (
        ["std_msgs", "geometry_msgs"],
        {
            "Point2D": "float64 x\nfloat64 y",
            "Vector2": "float64 x\nfloat64 y",
            "Pose2D": "yolo_msgs/Point2D position\nfloat64 theta",
            "BoundingBox2D": "yolo_msgs/Pose2D center\nyolo_msgs/Vector2 size",
            "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\nstring frame_id",
            "Mask": "int32 height\nint32 width\nyolo_msgs/Point2D[] data",
            "KeyPoint2D": "int32 id\nyolo_msgs/Point2D point\nfloat64 score",
            "KeyPoint2DArray": "yolo_msgs/KeyPoint2D[] data",
            "KeyPoint3D": "int32 id\ngeometry_msgs/Point point\nfloat64 score",
            "KeyPoint3DArray": "yolo_msgs/KeyPoint3D[] data\nstring frame_id",
            "Detection": (
                "int32 class_id\nstring class_name\nfloat64 score\nstring id\nyolo_msgs/BoundingBox2D bbox\n"
                "yolo_msgs/BoundingBox3D bbox3d\nyolo_msgs/Mask mask\nyolo_msgs/KeyPoint2DArray keypoints\n"
                "yolo_msgs/KeyPoint3DArray keypoints3d"
            ),
            "DetectionArray": "std_msgs/Header header\nyolo_msgs/Detection[] detections",
        },
    ),
    "foxglove_msgs": (
        ["builtin_interfaces"],
        {
            "Point2": "float64 x\nfloat64 y",
            "Color": "float64 r\nfloat64 g\nfloat64 b\nfloat64 a",
            "PointsAnnotation": (
                "uint8 LINE_LOOP=2\nbuiltin_interfaces/Time timestamp\nuint8 type\nfoxglove_msgs/Point2[] points\n"
                "foxglove_msgs/Color outline_color\nfoxglove_msgs/Color[] outline_colors\n"
                "foxglove_msgs/Color fill_color\nfloat64 thickness"
            ),
            "TextAnnotation": (
                "builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nstring text\nfloat64 font_size\n"
                "foxglove_msgs/Color text_color\nfoxglove_msgs/Color background_color"
            ),
            "ImageAnnotations": (
                "builtin_interfaces/Time timestamp\nfoxglove_msgs/PointsAnnotation[] points\n"
                "foxglove_msgs/TextAnnotation[] texts"
            ),
        },
    ),
    "autoware_perception_msgs": (["std_msgs"], {"ObjectClassification": "uint8 label\nfloat32 probability"}),
    "ultralytics_ros": (
        ["std_msgs", "sensor_msgs", "vision_msgs"],
        {"YoloResult": ("std_msgs/Header header\nvision_msgs/Detection2DArray detections\nsensor_msgs/Image[] masks")},
    ),
    "autoware_internal_perception_msgs": (
        ["std_msgs", "sensor_msgs", "autoware_perception_msgs"],
        {
            "SegmentationMask": (
                "std_msgs/Header header\nautoware_perception_msgs/ObjectClassification[] classification\n"
                "sensor_msgs/Image image"
            )
        },
    ),
}

#: The generators that rclpy on Fast DDS needs; all of them would take twice the time.
CMAKE = """cmake_minimum_required(VERSION 3.16)
project({name})
find_package(ament_cmake REQUIRED)
foreach(part generator_c generator_type_description typesupport_c typesupport_fastrtps_c typesupport_fastrtps_cpp
    generator_cpp generator_py)
  find_package(rosidl_${{part}} REQUIRED)
endforeach()
find_package(rosidl_cmake REQUIRED)
foreach(package {needs})
  find_package(${{package}} REQUIRED)
endforeach()
rosidl_generate_interfaces({name} {files} DEPENDENCIES {needs})
ament_package()
"""
MANIFEST = """<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>0.0.0</version>
  <description>Messages with the names and fields of {name}, for tests</description>
  <maintainer email="amodal-ros@example.com">amodal_ros maintainers</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  {needs}
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def build() -> Path:
    """Build the packages, once for all test processes; the prefix that they are installed to."""
    BUILT.mkdir(parents=True, exist_ok=True)
    prefix, stamp = BUILT / "install", BUILT / "stamp"
    wanted = hashlib.sha256(json.dumps([PACKAGES, CMAKE, MANIFEST, sys.version]).encode()).hexdigest()
    with open(BUILT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _write()
            command = ["colcon", "--log-base", "log", "build", "--merge-install", "--install-base", str(prefix)]
            command += ["--cmake-args", "-G", "Ninja", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF"]
            done = subprocess.run(command, cwd=BUILT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
            stamp.write_text(wanted)
    return prefix


def environment(prefix: Path) -> dict[str, str]:
    """What sourcing the packages' workspace sets, for a process."""
    ours = {"PYTHONPATH": _modules(prefix), "LD_LIBRARY_PATH": prefix / "lib", "AMENT_PREFIX_PATH": prefix}
    return {name: os.pathsep.join(filter(None, [str(path), os.environ.get(name, "")])) for name, path in ours.items()}


def use(prefix: Path) -> None:
    """Make the packages importable here: libraries that are loaded need no search path, which is read at the start."""
    sys.path.insert(0, str(_modules(prefix)))
    left = sorted((prefix / "lib").glob("*.so"))
    while left:
        failed = []
        for library in left:
            try:
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                failed.append((library, error))
        assert len(failed) < len(left), failed[0][1]
        left = [library for library, _ in failed]


def _modules(prefix: Path) -> Path:
    return next((prefix / "lib").glob("python3*/site-packages"))


def _write() -> None:
    for name, (needs, messages) in PACKAGES.items():
        folder = BUILT / "src" / name
        (folder / "msg").mkdir(parents=True, exist_ok=True)
        for message, fields in messages.items():
            (folder / "msg" / f"{message}.msg").write_text(fields + "\n")
        files = " ".join(f"msg/{message}.msg" for message in messages)
        (folder / "CMakeLists.txt").write_text(CMAKE.format(name=name, needs=" ".join(needs), files=files))
        depends = "\n  ".join(f"<depend>{need}</depend>" for need in needs)
        (folder / "package.xml").write_text(MANIFEST.format(name=name, needs=depends))
