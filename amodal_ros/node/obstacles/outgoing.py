"""Obstacles as messages: a point cloud, markers, and detections where vision_msgs is installed."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from amodal_ros.space import BODY_IN_OPTICAL, Rigid, quaternion
from amodal_ros.stream.placing import Obstacles, Placed, described

#: A point as it lies in the cloud; names and offsets are what users read.
POINT = np.dtype(
    {
        "names": ["x", "y", "z", "hidden", "id", "source"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u4", "u1"],
        "offsets": [0, 4, 8, 12, 16, 20],
        "itemsize": 24,
    }
)
_KINDS = {"f4": PointField.FLOAT32, "u4": PointField.UINT32, "u1": PointField.UINT8}
#: Markers that nobody replaces go after so long (seconds); cubes per object are at most so many.
LIFETIME, MOST_POINTS = 1, 300
#: A near and a far bound are taken for a normal distribution's 5 % and 95 % quantiles: so many deviations apart.
DEVIATIONS = 2 * 1.645


def cloud_message(header: Header, obstacles: Obstacles) -> PointCloud2:
    """All points, `POINT` each; unordered."""
    cloud = np.zeros(len(obstacles.points), POINT)
    for k, axis in enumerate("xyz"):
        cloud[axis] = obstacles.points[:, k]
    cloud["hidden"], cloud["id"], cloud["source"] = obstacles.hidden, obstacles.ids, obstacles.sources
    fields = [
        PointField(name=name, offset=POINT.fields[name][1], datatype=_KINDS[POINT[name].str[1:]], count=1)
        for name in POINT.names
    ]
    return PointCloud2(
        header=header,
        height=1,
        width=len(cloud),
        fields=fields,
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(cloud),
        data=array("B", cloud.tobytes()),
        is_dense=True,
    )


def markers_message(header: Header, obstacles: Obstacles, to_target: Rigid, size: float) -> MarkerArray:
    """Cubes of side `size`, solid where an object is seen, translucent where it is hidden, and a label above."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for one in obstacles.placed:
        mine = obstacles.ids == one.instance.id
        for name, which, alpha in (("visible", ~obstacles.hidden, 1.0), ("hidden", obstacles.hidden, 0.35)):
            points = obstacles.points[mine & which]
            points = points[:: -(-len(points) // MOST_POINTS) or 1]
            if len(points):
                marker = _marker(header, name, one, Marker.CUBE_LIST, _colour(one.instance.id, alpha), size)
                marker.points = [Point(x=x, y=y, z=z) for x, y, z in points.astype(float).tolist()]
                markers.append(marker)
        label = _marker(header, "label", one, Marker.TEXT_VIEW_FACING, ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0), 0.4)
        centre, up = np.array(one.obstacle.centre), np.array([0.0, one.obstacle.size[1] / 2 + 0.3, 0.0])
        x, y, z = to_target.apply((centre - up)[None])[0].tolist()  # the optical frame's y points down
        label.pose.position = Point(x=x, y=y, z=z)
        label.text = described(one)
        markers.append(label)
    return MarkerArray(markers=markers)


def detections_message(header: Header, obstacles: Obstacles, to_target: Rigid, messages: Any) -> Any:
    """A ``vision_msgs/msg/Detection3DArray``; `messages` is the module ``vision_msgs.msg``.

    Boxes have a body's axes (x away from the camera, z up). The score is the detector's, else the shape's expected IoU,
    else 0; the position's variance along the view comes from the near and far bounds.
    """
    return messages.Detection3DArray(
        header=header, detections=[_detection(header, one, to_target, messages) for one in obstacles.placed]
    )


def _detection(header: Header, one: Placed, to_target: Rigid, messages: Any) -> Any:
    obstacle, instance = one.obstacle, one.instance
    x, y, z = to_target.apply(np.array([obstacle.centre]))[0].tolist()
    turned = quaternion(to_target.rotation @ BODY_IN_OPTICAL)
    pose = Pose(
        position=Point(x=x, y=y, z=z), orientation=Quaternion(x=turned[0], y=turned[1], z=turned[2], w=turned[3])
    )
    width, height, depth = obstacle.size
    result = messages.ObjectHypothesisWithPose()
    result.hypothesis.class_id = instance.class_id
    scores = (float(score) for score in (instance.score, instance.expected_iou) if not math.isnan(score))
    result.hypothesis.score = next(scores, 0.0)
    result.pose.pose = pose
    along = to_target.rotation[:, 2] * (obstacle.far - obstacle.near) / DEVIATIONS
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = np.outer(along, along)
    result.pose.covariance = np.nan_to_num(covariance, posinf=1e6).ravel()
    found = messages.Detection3D(header=header, results=[result], id=instance.track_id or str(instance.id))
    found.bbox.center = pose
    found.bbox.size = Vector3(x=depth, y=width, z=height)
    return found


def _marker(header: Header, name: str, one: Placed, kind: int, colour: ColorRGBA, size: float) -> Marker:
    marker = Marker(header=header, ns=name, id=one.instance.id & 0x7FFFFFFF, type=kind, action=Marker.ADD, color=colour)
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=size, y=size, z=size)
    marker.lifetime = Duration(sec=LIFETIME)
    return marker


def _colour(ident: int, alpha: float) -> ColorRGBA:
    """One of many hues, the same for an object in every array."""
    hue = 6 * (ident * 0.618034 % 1)
    r, g, b = (min(max(abs((hue + shift) % 6 - 3) - 1, 0), 1) for shift in (0, 4, 2))
    return ColorRGBA(r=float(r), g=float(g), b=float(b), a=alpha)
