"""Where the files beside the Python package lie: in a source checkout or in a ROS installation."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "amodal_ros"


def shared_file(folder: str, name: str) -> Path:
    """A file of the repository's `folder`, such as ``msg/Mask.msg`` or ``config/fastdds.xml``.

    A pip install holds ``msg`` alone, as package data.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).absolute().parents[2]  # not resolved: links of a symlink install stay in the install
    places = [package / "interfaces"] if folder == "msg" else []
    places += [package.parent / folder, *(prefix / "share" / PACKAGE / folder for prefix in package.parents)]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"{folder}/{name} of {PACKAGE} is not installed; expected it in {places[0]}")
