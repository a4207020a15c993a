"""Room for camera images in Fast DDS's shared memory: ``config/fastdds.xml`` and how a process comes by it."""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory

#: Any of these, or one of these files in the working folder, is the user's own choice of transport.
CHOSEN = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")
CHOSEN_FILES = ("DEFAULT_FASTDDS_PROFILES.xml", "DEFAULT_FASTRTPS_PROFILES.xml")


def share(*path: str) -> str:
    """A file of the installed package, such as ``share("config", "amodal.yaml")``."""
    return os.path.join(get_package_share_directory("amodal_ros"), *path)


def large_images() -> dict[str, str]:
    """Environment of a process that sends or receives images. Empty if the user has chosen."""
    if any(name in os.environ for name in CHOSEN) or any(map(os.path.exists, CHOSEN_FILES)):
        return {}
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")  # with both, Fast DDS takes neither
    return {CHOSEN[old]: share("config", "fastdds.xml")}
