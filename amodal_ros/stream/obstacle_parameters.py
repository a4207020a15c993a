"""Every parameter of `amodal_obstacles`."""

from __future__ import annotations

from dataclasses import dataclass

from amodal_ros.stream.options import Options, option, options_of


@dataclass(frozen=True)
class ObstacleParameters(Options):
    """The parameters of `amodal_obstacles`.

    Raises:
        ValueError: a value that is no choice, or that does not go with another one.
    """

    use_depth: bool = option(False, "Wait for a depth image too: objects stand where it shows what is seen of them")
    rectified: bool = option(
        True, "Masks are of the rectified image, whose camera is P; false: of the raw one, K and D"
    )
    ground: str = option(
        "level",
        "Where objects stand that have no depth: 'level' by camera_height, camera_pitch and camera_roll; 'tf': the "
        "plane z = 0 of base_frame; 'depth': fitted to the depth image",
        choices=("level", "tf", "depth"),
    )
    camera_height: float = option(
        0.0, "If ground is level: metres of the camera above it; 0: unknown", between=(0.0, 100.0), live=True
    )
    camera_pitch: float = option(
        0.0, "If ground is level: radians; positive: the camera looks down", between=(-1.5, 1.5), live=True
    )
    camera_roll: float = option(
        0.0, "If ground is level: radians; positive: the camera's right side is lower", between=(-1.5, 1.5), live=True
    )
    base_frame: str = option("base_footprint", "If ground is tf: a frame on the ground, z upwards (REP 105)")
    target_frame: str = option("", "Frame of all outputs, by TF; empty: the camera's own")
    voxel_size: float = option(
        0.1, "Metres between points; one point per cube of this side, 0: all", between=(0.0, 10.0), live=True
    )
    max_range: float = option(
        50.0, "Metres from the camera beyond which nothing is told", between=(0.1, 1e4), live=True
    )
    min_expected_iou: float = option(
        0.0,
        "A shape whose expected IoU is lower, or unknown, is not used: what is seen of the object is; 0: all are used",
        between=(0.0, 1.0),
        live=True,
    )
    max_age: float = option(
        1.0,
        "Seconds; a shape that rests on an older image is not used: what is seen is",
        between=(0.0, 600.0),
        live=True,
    )
    classes: tuple[str, ...] = option(("",), "Only these classes; empty: all", live=True)
    thickness: float = option(
        0.5, "Metres that an object goes on behind what is seen of it", between=(0.0, 50.0), live=True
    )
    class_thickness: tuple[str, ...] = option(("",), "The same by class, such as 'car=1.8'", live=True)
    pair_slop: float = option(
        0.0, "Seconds by which stamps of instances and depth may differ; 0: exact", between=(0.0, 10.0)
    )
    pair_buffer: float = option(
        2.0, "Seconds that a message waits for its partner: the first node's latency and more", between=(0.01, 600.0)
    )
    pair_buffer_mb: int = option(256, "Megabytes that may wait for partners in all", between=(1, 65536))
    catch_up: float = option(
        0.1,
        "After a hiccup arrays that wait are answered in order while that delays the newest by at most so many "
        "seconds, else only the newest; 0: always only the newest",
        between=(0.0, 1.0),
        live=True,
    )
    autostart: bool = option(True, "Configure and activate without being asked")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ground == "depth" and not self.use_depth:
            raise ValueError("ground: 'depth' needs use_depth, got use_depth false")
        self.thickness_of("")

    @property
    def knows_ground(self) -> bool:
        """Whether objects without depth can be placed."""
        return self.ground != "level" or self.camera_height > 0

    def thickness_of(self, class_id: str) -> float:
        """Metres, by `class_thickness`, else `thickness`.

        Raises:
            ValueError: an entry that is no class and number.
        """
        found = self.thickness
        for entry in filter(None, self.class_thickness):
            name, _, value = entry.rpartition("=")
            try:
                metres = float(value)
            except ValueError:
                metres = -1.0
            if not name or not 0 <= metres <= 50:
                raise ValueError(f"class_thickness: expected CLASS=METRES, such as 'car=1.8', got {entry!r}")
            if name == class_id:
                found = metres
        return found


OBSTACLE_OPTIONS = options_of(ObstacleParameters)
