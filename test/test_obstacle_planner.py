"""The example's planner: what it hits when it knows only what is seen, and passes when it knows whole objects."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from amodal_ros.completion import AmodalPipeline

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "obstacle_planner.py"


@pytest.fixture(scope="module")
def example():
    specification = importlib.util.spec_from_file_location("obstacle_planner", EXAMPLE)
    module = sys.modules["obstacle_planner"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_whole_objects_keep_the_robot_clear_where_visible_parts_let_it_crash(example):
    pipeline = AmodalPipeline.from_pretrained("embedded")
    for scenario in example.SCENARIOS:
        frame, masks = example.survey(scenario, pipeline)
        gaps = {
            kind: example.clearance(example.plan(example.obstacles(frame, known), scenario.goal), frame)
            for kind, known in masks.items()
        }
        assert gaps["modal"] < 0 < gaps["amodal"], (scenario.name, gaps)
