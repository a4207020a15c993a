"""The house (`docs/design.md`): no import points up, the product knows no laboratory, ROS stays in its room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "amodal_ros"

#: Each room knows only rooms on lines above its own.
FLOORS = [
    ["errors", "scene"],
    ["io", "messages", "settings", "space"],
    ["models"],
    ["completion"],
    ["live"],
    ["stream"],
    ["segmentation"],
    ["commands", "node"],
    ["lab"],
    ["cli"],
]
FLOOR = {room: k for k, rooms in enumerate(FLOORS) for room in rooms}
ROS = (
    "rclpy",
    "launch",
    "launch_ros",
    "rcl_interfaces",
    "sensor_msgs",
    "std_msgs",
    "diagnostic_msgs",
    "lifecycle_msgs",
    "geometry_msgs",
    "visualization_msgs",
    "vision_msgs",
    "foxglove_msgs",
    "tf2_ros",
)
#: Of the laboratory what drives a running node.
WITH_ROS = ("node", "lab/bags")


def imports(file: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, also in functions; not what it imports for type checkers alone."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def rooms(module: str) -> str | None:
    """The room of one of our modules; None for other packages and the messages that ROS generates."""
    parts = module.split(".")
    return parts[1] if parts[0] == "amodal_ros" and len(parts) > 1 and parts[1] in FLOOR else None


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_no_import_points_up_or_across(file: Path) -> None:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        assert not [m for m in imports(file) if m.startswith("amodal_ros")], "importing the package stays cheap"
        return
    mine = parts[0]
    for module in imports(file):
        theirs = rooms(module)
        if theirs not in (None, mine):
            assert FLOOR[theirs] < FLOOR[mine], f"{mine} imports {module}"
        if module.split(".")[0] in ROS or module.startswith("amodal_ros.msg"):
            assert file.relative_to(PACKAGE).as_posix().startswith(WITH_ROS) or mine == "messages", f"imports {module}"


def test_every_room_is_in_the_house_and_its_plan() -> None:
    found = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {"__init__"}
    assert found == set(FLOOR)
    plan = (ROOT / "docs" / "design.md").read_text()
    assert [room for room in found if f"{room}/" not in plan and f"{room}.py" not in plan] == []


def test_torch_stays_out_of_scene_and_live() -> None:
    for room in ("scene", "io", "settings", "models", "live", "stream", "node", "space"):
        for file in (PACKAGE / room).rglob("*.py"):
            top = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
            names = [n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in top]
            assert not [n for n in names if n and n.split(".")[0] in ("torch", "diffusers", "transformers")], file
