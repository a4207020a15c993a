"""Pip entry point; everything is declared in pyproject.toml. ROS builds the package through CMakeLists.txt."""

from setuptools import setup

setup()
