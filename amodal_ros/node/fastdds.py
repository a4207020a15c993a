"""Camera images over Fast DDS: ``config/fastdds.xml`` and how a process comes by it."""

from __future__ import annotations

import os
from contextlib import suppress

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

#: Any of these, or one of these files in the working folder, is the user's own choice of transport.
CHOSEN = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")
CHOSEN_FILES = ("DEFAULT_FASTDDS_PROFILES.xml", "DEFAULT_FASTRTPS_PROFILES.xml")


def share(*path: str) -> str:
    """A file of the installed package, such as ``share("config", "amodal.yaml")``."""
    return os.path.join(get_package_share_directory("amodal_ros"), *path)


def large_images() -> dict[str, str]:
    """Environment of a process that sends or receives images, for `os.environ` before rclpy's first context.

    Empty if the user has chosen, if this process or its parent has already set it, or where the package is not
    installed for ROS.
    """
    if any(name in os.environ for name in CHOSEN) or any(map(os.path.exists, CHOSEN_FILES)):
        return {}
    with suppress(PackageNotFoundError):
        return {profile_variable(): share("config", "fastdds.xml")}
    return {}


def profile_variable() -> str:
    """Names the file of Fast DDS's settings, for the distribution that runs. With both set, Fast DDS takes neither."""
    return CHOSEN[os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")]


def chosen() -> str:
    """The file of settings, or the transports, that this process has from its environment; "" if from neither."""
    return next((os.environ[name] for name in CHOSEN if name in os.environ), "")
