"""Pip entry point; the rest is declared in pyproject.toml. ROS builds the package through CMakeLists.txt."""

from setuptools import find_packages, setup

setup(
    # The message definitions travel with the library, so that bags can be written and read without ROS. Not as
    # amodal_ros.msg: that name belongs to the classes that ROS generates.
    packages=[*find_packages(include=["amodal_ros*"]), "amodal_ros.interfaces"],
    package_dir={"amodal_ros.interfaces": "msg"},
)
