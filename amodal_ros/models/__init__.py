"""Models by name, folder or hub id: profiles, finding and fetching weights, the shipped weights. Imports no torch."""

from __future__ import annotations

from amodal_ros.models.profiles import Found, Profile, find_model, load_profile, shipped_names

__all__ = ["Found", "Profile", "find_model", "load_profile", "shipped_names"]
