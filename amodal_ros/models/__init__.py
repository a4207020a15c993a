"""Finding models: by name or by folder, with the settings that belong to them. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

#: Where the shipped weights lie.
EMBEDDED = Path(__file__).parent / "embedded"
#: A model folder may bring its own default `completion.Settings` under the key ``settings``.
SETTINGS_FILE = "amodal.yaml"


def resolve_folder(model: str | Path) -> Path:
    """The folder of a model given by name or path.

    Raises:
        ValueError: neither a known name nor a folder.
    """
    folder = EMBEDDED if str(model) == "embedded" else Path(model).expanduser()
    if not folder.is_dir():
        raise ValueError(f"model: expected 'embedded' or a folder, got {str(model)!r} (looked for {folder.absolute()})")
    return folder


def folder_settings(folder: Path) -> dict[str, Any]:
    """The default settings that a model folder brings; none if it has no such file.

    Raises:
        ValueError: the file is no mapping with a mapping ``settings``.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    content = yaml.safe_load(path.read_text()) or {}
    settings = content.get("settings", {}) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected a mapping with a mapping 'settings', got {content!r}")
    return settings
