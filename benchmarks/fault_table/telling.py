"""Rows F: what the node says is true."""

from __future__ import annotations

import math

import cv2
import numpy as np

from amodal_ros.scene import Source
from fault_table import frames
from fault_table.robot import SECOND, START, Robot
from fault_table.table import Seen, row


@row("F30", "two nodes in two namespaces")
def two_names() -> Seen:
    with Robot(name="/left/amodal_node") as robot:
        for side in ("left", "right"):
            robot.start(f"-r __ns:=/{side}", "-r image:=/image", "-r instance_mask:=/instance_mask")
        robot.wait(lambda: False, 8)
        statuses = [status for report in robot.reports for status in report.status]
        names, hardware = {status.name for status in statuses}, {status.hardware_id for status in statuses}
    ok = len(names) == 6 and all("left" in name or "right" in name for name in names) and "" not in hardware
    return Seen(
        "/left/amodal_node and /right/amodal_node",
        "6 names, none without hardware id",
        f"{sorted(names)}, hardware ids {sorted(hardware)}",
        ok,
    )


def _street(step: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc that moves behind a box and comes out again."""
    rgb, labels = np.full((96, 160, 3), 90, np.uint8), np.zeros((96, 160), np.uint16)
    centre = (30 + 3 * step, 48)
    cv2.circle(rgb, centre, 20, (40, 200, 60), -1)
    cv2.circle(labels, centre, 20, frames.BACK, -1)
    rgb[10:90, 80:110], labels[10:90, 80:110] = (200, 50, 40), frames.FRONT
    return rgb, labels


@row("F31", "a view that is remembered without the model")
def remembered() -> Seen:
    with Robot() as robot:
        node = robot.start("live_budget:=0.0", model="embedded")
        robot.warm_up(node)
        sources: dict[int, int] = {}
        for k in range(25):
            stamp = START + k * SECOND // 10
            rgb, labels = _street(k)
            robot.send(stamp, frames.image(stamp, rgb), frames.labels(stamp, labels))
            array = robot.answer_to(stamp, 5)
            for entry in array.instances if array else ():
                sources[entry.source] = sources.get(entry.source, 0) + 1
    ok = bool(sources) and not sources.keys() & {Source.INFERRED, Source.PROPAGATED}
    seen = ", ".join(f"{n} {Source(source).name}" for source, n in sorted(sources.items()))
    return Seen("a disc behind a box, live_budget 0", "no INFERRED and no PROPAGATED", seen, ok)


@row("F32", "the figures of every answer")
def figures() -> Seen:
    with Robot() as robot:
        node = robot.start(model="embedded")
        robot.warm_up(node)
        wrong, count = [], 0
        for k in range(40):
            stamp = START + k * SECOND // 10
            rgb, labels = _street(k)
            robot.send(stamp, frames.image(stamp, rgb), frames.labels(stamp, labels))
            array = robot.answer_to(stamp, 10)
            for entry in array.instances if array else ():
                count += 1
                for name in ("occlusion_ratio", "truncation_ratio", "expected_iou", "agreement"):
                    value = getattr(entry, name)
                    if not (math.isnan(value) or 0 <= value <= 1):
                        wrong.append(f"{name} {value}")
                if entry.amodal.width < entry.visible.width or entry.amodal.height < entry.visible.height:
                    wrong.append("an amodal mask smaller than the visible one")
                if not any(entry.visible.data):
                    wrong.append("no visible pixel")
    ok = not wrong and count >= 60
    return Seen(
        "40 frames, live",
        "ratios in [0, 1] or NaN, amodal contains visible",
        f"{count} objects; {wrong[:2] or 'none wrong'}",
        ok,
    )
