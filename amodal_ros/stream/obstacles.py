"""The thread that answers for `amodal_obstacles`: arrays in, obstacles out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from amodal_ros.space import Ground, PinholeCamera, Rigid
from amodal_ros.stream.images import BadInput, depth_of
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.obstacle_parameters import ObstacleParameters
from amodal_ros.stream.pairing import Pair
from amodal_ros.stream.placing import UNWANTED, Obstacles, View, place
from amodal_ros.stream.serving import Note, Server
from amodal_ros.stream.timings import Timings

#: (target frame, source frame, stamp in nanoseconds) -> the transform; raises `BadInput` where there is none.
Lookup = Callable[[str, str, int], Rigid]
Publish = Callable[[Any, Obstacles, Rigid], None]


class Surveyor(Server):
    """Answers arrays until the intake closes.

    Args:
        lookup: TF.
        publish, show: called with (array, obstacles, transform from the camera to the outputs); `show` comes later.
        parameters: an attribute, which may change at any time.
        note: as in `Server`.

    Attributes:
        camera_info: the latest ``sensor_msgs/msg/CameraInfo``; None before the first.
    """

    def __init__(
        self,
        intake: Intake,
        lookup: Lookup,
        publish: Publish,
        show: Publish,
        parameters: ObstacleParameters,
        timings: Timings,
        note: Note,
        camera_topic: str,
    ) -> None:
        super().__init__(intake, timings, lambda: self.parameters.catch_up, note)
        self.camera_info: Any = None
        self.unplaced: Counter[str] = Counter()  #: objects without a place since activation, by reason
        self.depth_unused: Counter[str] = Counter()  #: depth images since activation, by reason
        self.parameters = parameters
        self._lookup, self._publish, self._show, self._camera_topic = lookup, publish, show, camera_topic
        self._latest: tuple[Obstacles, Rigid] | None = None
        self._told_of_lens = False

    def answer(self, pair: Pair) -> bool:
        """The obstacles of one array."""
        array, parameters = pair.messages["instances"], self.parameters
        self.time_jumps += pair.jumped
        with self.timings.measure("decode"):
            view = self._view(array, pair.messages.get("depth"), pair.stamp, parameters)
        with self.timings.measure("place"):
            obstacles = place(array, view, parameters, self._missed)
        if self._interrupt.is_set():
            return False
        with self.timings.measure("publish"):
            self._publish(array, obstacles, view.to_target)
        self.unplaced.update(obstacles.unplaced)
        self.objects = Counter("depth" if one.obstacle.by_depth else "ground" for one in obstacles.placed)
        self._latest = obstacles, view.to_target
        return True

    def show(self, pair: Pair) -> None:
        """Markers of the latest answer."""
        latest, self._latest = self._latest, None
        assert latest is not None
        self._show(pair.messages["instances"], *latest)

    def _missed(self, reason: str, line: str) -> None:
        if reason not in UNWANTED:
            self.note(f"unplaced.{reason}", line)

    def _view(self, array: Any, depth_message: Any, stamp: int, parameters: ObstacleParameters) -> View:
        frame = array.header.frame_id
        camera = self._camera(array, parameters.rectified)
        depth = self._depth(array, depth_message, parameters) if depth_message is not None else None

        @cache
        def attempt() -> Ground | BadInput | None:
            try:
                if parameters.ground == "tf":
                    found = self._lookup(parameters.base_frame, frame, stamp)
                    return Ground.from_transform(found.rotation, found.translation)
                if parameters.ground == "depth":
                    return Ground.fit(depth, camera) if depth is not None else None
                return Ground.level(parameters.camera_height, parameters.camera_pitch, parameters.camera_roll)
            except ValueError as error:
                return error if isinstance(error, BadInput) else BadInput("no_ground", str(error))

        def ground() -> Ground | None:
            found = attempt()
            if isinstance(found, BadInput):
                raise found
            return found

        if depth is None:
            ground()  # without either nothing has a place: no array says that nothing is there
        target = parameters.target_frame
        moved = self._lookup(target, frame, stamp) if target and target != frame else Rigid.identity()
        return View(camera, depth, ground if parameters.knows_ground else lambda: None, moved)

    def _camera(self, array: Any, rectified: bool) -> PinholeCamera:
        info = self.camera_info
        if info is None:
            raise BadInput("no_camera_info", f"waiting for a sensor_msgs/msg/CameraInfo on {self._camera_topic}")
        theirs, ours = info.header.frame_id, array.header.frame_id
        if theirs and ours and theirs != ours:
            raise BadInput(
                "camera_frame",
                f"{self._camera_topic} is of the frame {theirs!r} and the masks are of {ours!r}: another camera's?",
            )
        if rectified and np.any(info.d) and not self._told_of_lens:
            self._told_of_lens = True
            self.note(
                "rectified",
                f"{self._camera_topic} has a lens distortion: the masks are taken to be of the rectified image; if "
                "they are of the raw one, set rectified to false",
            )
        try:
            return PinholeCamera.from_info(info, rectified).resized(array.image_width, array.image_height)
        except ValueError as error:
            raise BadInput("bad_camera_info", f"{self._camera_topic}: {error}") from None

    def _depth(self, array: Any, message: Any, parameters: ObstacleParameters) -> np.ndarray | None:
        """The depth image, or None where it cannot be used and the ground will do."""
        try:
            return _registered(array, message)
        except BadInput as error:
            if not parameters.knows_ground or parameters.ground == "depth":
                raise
            self.depth_unused[error.reason] += 1
            self.note(f"depth.{error.reason}", f"objects are placed on the ground, depth cannot be used: {error}")
            return None


def _registered(array: Any, message: Any) -> np.ndarray:
    """Depth of the masks' pixels in metres.

    Raises:
        BadInput: it cannot be read, or is not registered to the camera.
    """
    ours, theirs = array.header.frame_id, message.header.frame_id
    if ours and theirs and ours != theirs:
        raise BadInput(
            "depth_frame", f"depth is of the frame {theirs!r}, expected it registered to the masks' {ours!r}"
        )
    depth = depth_of(message)
    if depth.shape != (array.image_height, array.image_width):
        raise BadInput(
            "size_mismatch",
            f"depth: expected the masks' size {array.image_width}x{array.image_height}, "
            f"got {depth.shape[1]}x{depth.shape[0]}",
        )
    return depth
