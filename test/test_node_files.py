"""What must agree over files: parameters, configuration, launch arguments, messages, and the header for C++."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amodal_ros import __version__
from amodal_ros.messages import age, mask_to_array, mask_to_region
from amodal_ros.scene import MaskRegion, Source

ROOT = Path(__file__).resolve().parents[1]


def options():
    pytest.importorskip("rclpy")
    from amodal_ros.stream.parameters import OPTIONS

    return OPTIONS


def obstacle_options():
    from amodal_ros.stream.obstacle_parameters import OBSTACLE_OPTIONS

    return OBSTACLE_OPTIONS


@pytest.mark.parametrize(("name", "options"), [("amodal", options), ("obstacles", obstacle_options)])
def test_the_configuration_has_every_parameter_with_its_default(name, options):
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())["/**"]["ros__parameters"]
    defaults = {
        name: list(option.default) if isinstance(option.default, tuple) else option.default
        for name, option in options().items()
    }
    assert config == defaults
    assert {name: type(value) for name, value in config.items()} == {k: type(v) for k, v in defaults.items()}


def reasons_in(paths):
    source = "".join(path.read_text() for path in paths)
    reasons = set(re.findall(r'_?drop\(\s*(?:topic, |self\.topics\[0\], )?"(\w+)"', source))
    return reasons | set(re.findall(r'BadInput\(\s*"(\w+)"', source))


#: Modules of `amodal_obstacles` alone.
OBSTACLES = ("obstacles.py", "placing.py", "obstacle_parameters.py")


#: Parameters that the layers of nav2_costmap_2d declare, of Jazzy to Lyrical, and those of each observation source.
NAV2_LAYERS = {
    "nav2_costmap_2d::ObstacleLayer": {
        *("enabled", "footprint_clearing_enabled", "min_obstacle_height", "max_obstacle_height"),
        *("combination_method", "observation_sources"),
    },
    "nav2_costmap_2d::InflationLayer": {
        *("enabled", "inflation_radius", "cost_scaling_factor", "inflate_unknown", "inflate_around_unknown"),
    },
}
NAV2_LAYERS["nav2_costmap_2d::VoxelLayer"] = NAV2_LAYERS["nav2_costmap_2d::ObstacleLayer"] | {
    *("z_voxels", "origin_z", "z_resolution", "unknown_threshold", "mark_threshold", "publish_voxel_map"),
}
NAV2_SOURCE = {
    *("topic", "sensor_frame", "observation_persistence", "expected_update_rate", "data_type", "inf_is_valid"),
    *("min_obstacle_height", "max_obstacle_height", "marking", "clearing", "obstacle_max_range", "obstacle_min_range"),
    *("raytrace_max_range", "raytrace_min_range"),
}


def test_nav2s_costmap_has_only_parameters_that_its_layers_declare():
    """A name that Nav2 does not know is ignored without a word."""
    costmap = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text())["local_costmap"]["local_costmap"]
    parameters = costmap["ros__parameters"]
    assert set(parameters["plugins"]) <= parameters.keys()
    for name in parameters.keys() - {"plugins"}:
        layer = parameters[name]
        sources = layer.get("observation_sources", "").split()
        assert layer.keys() - {"plugin", *sources} <= NAV2_LAYERS[layer["plugin"]], name
        for source in (layer[source] for source in sources):
            assert source.keys() <= NAV2_SOURCE and source["marking"] and not source["clearing"]
            assert source["topic"] == "/amodal_obstacles/obstacles" and source["data_type"] == "PointCloud2"
        assert layer.get("z_voxels", 0) <= 16  # more do not fit Nav2's columns


def test_the_documentation_names_every_parameter_and_drop_reason():
    text = (ROOT / "docs" / "node.md").read_text()
    for name in options():
        assert f"`{name}`" in text
    paths = [path for room in ("node", "stream") for path in (ROOT / "amodal_ros" / room).glob("*.py")]
    reasons = reasons_in(path for path in paths if path.name not in OBSTACLES)
    assert {"failed", "bad_image", "zero_stamp", "duplicate"} <= reasons
    for reason in reasons:
        assert f"`{reason}`" in text


def test_the_page_of_obstacles_names_every_parameter_and_reason():
    text = (ROOT / "docs" / "obstacles.md").read_text()
    for name in obstacle_options():
        assert f"`{name}`" in text
    paths = [ROOT / "amodal_ros" / "stream" / name for name in OBSTACLES]
    reasons = reasons_in([*paths, *(ROOT / "amodal_ros" / "node" / "obstacles").glob("*.py")])
    assert {"no_camera_info", "no_transform", "above_horizon"} <= reasons
    for reason in reasons:
        assert f".{reason}`" in text


def test_every_message_field_is_commented_and_sources_match():
    for path in (ROOT / "msg").glob("*.msg"):
        commented = False
        for line in path.read_text().splitlines():
            if line.startswith("#"):
                commented = True
            elif line.strip():
                assert commented or "#" in line, f"{path.name}: {line}"
            elif not line.strip():
                commented = False
    constants = re.findall(r"^uint8 (\w+)=(\d+)", (ROOT / "msg" / "AmodalInstance.msg").read_text(), re.MULTILINE)
    assert {name: int(value) for name, value in constants} == {source.name: source.value for source in Source}


def test_versions_agree():
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == __version__


masks = st.builds(
    MaskRegion,
    st.integers(-30, 30),
    st.integers(-30, 30),
    arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=20)),
)


def as_message(region: MaskRegion) -> SimpleNamespace:
    return SimpleNamespace(
        x=region.x, y=region.y, width=region.width, height=region.height, data=region.pack().tobytes()
    )


@given(masks)
def test_masks_survive_the_message(region):
    assert mask_to_region(as_message(region)) == region
    assert np.array_equal(mask_to_array(as_message(region), 24, 32), region.full(24, 32))


@given(masks)
def test_rclpy_masks_survive_too(region):
    pytest.importorskip("rclpy")
    from rclpy.serialization import deserialize_message, serialize_message

    from amodal_ros.msg import Mask
    from amodal_ros.node.outgoing import mask_message

    message = deserialize_message(serialize_message(mask_message(region)), Mask)
    assert mask_to_region(message) == region


def test_age_is_between_the_two_images():
    def time(seconds):
        return SimpleNamespace(sec=seconds, nanosec=250_000_000)

    array = SimpleNamespace(header=SimpleNamespace(stamp=time(12)))
    assert age(array, SimpleNamespace(inferred_at=time(10))) == 2.0


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_the_header_for_cpp_unpacks_what_python_packs(tmp_path):
    region = MaskRegion(-2, 3, np.random.default_rng(0).random((5, 13)) < 0.5)
    data = ", ".join(str(byte) for byte in region.pack())
    (tmp_path / "main.cpp").write_text(
        f"""
#include <cstdio>
#include "amodal_ros/mask.hpp"
struct Mask {{ int32_t x, y; uint32_t width, height; std::vector<uint8_t> data; }};
int main() {{
  Mask mask{{-2, 3, 13, 5, {{{data}}}}};
  for (auto pixel : amodal_ros::unpack(mask, 10, 9)) std::putchar(pixel ? '1' : '0');
  amodal_ros::MaskView<Mask> view(mask);
  std::printf(" %zu ", view.area());
  for (int y = -1; y < 9; ++y) for (int x = -4; x < 14; ++x) std::putchar(view.at(x, y) ? '1' : '0');
  mask.data.pop_back();
  try {{
    amodal_ros::MaskView<Mask> bad(mask);
  }} catch (const std::invalid_argument & error) {{
    std::printf(" %s", error.what());
  }}
}}
"""
    )
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "include", "main.cpp", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    output = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    full, area, window, error = output.split(" ", 3)

    def digits(pixels: np.ndarray) -> str:
        return "".join("01"[int(pixel)] for pixel in pixels.reshape(-1))

    assert full == digits(region.full(9, 10)) and int(area) == region.area
    assert window == digits(region.window(-4, -1, 18, 10))
    assert error == "packed mask of 13x5: expected 10 bytes, got 9"
