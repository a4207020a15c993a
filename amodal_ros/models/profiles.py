"""Profiles: what belongs to a model by name. Shipped ones lie beside this file; anybody can write more. No torch.

A profile is a YAML file. The file ``amodal.yaml`` inside a model folder is one too, for that folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from amodal_ros.errors import ModelError
from amodal_ros.models import hub
from amodal_ros.models.layout import DENOISERS, FAMILIES, SINGLE_FILES, family_of, how_to_convert, read_json
from amodal_ros.settings.method import Settings
from amodal_ros.settings.switches import SWITCH_NAMES, Switches

SHIPPED = Path(__file__).parent
#: A profile inside a model folder, for that folder.
FOLDER_PROFILE = "amodal.yaml"
#: Whose settings a bare folder of a family gets.
FAMILY_PROFILES = {"stable_diffusion": "sd15", "sdxl": "sdxl", "flux": "flux"}
DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Profile:
    """A model and everything that belongs to it.

    `model`, `segmenter` and the switches `vae`, `decoder` and `lora` are places: a path that begins with ``.``, ``/``
    or ``~`` (relative to the profile's file), or a hub id ``organisation/name``, optionally ``:file/inside``.

    Attributes:
        model: the pipeline; empty for `geometric`, which has no network.
        segmenter: empty: ``segmenter/`` in the model's folder.
        family: what the pipeline has to be; empty: whatever it says it is.
        mask_input: whether the denoiser has to have a mask input; None: either.
        resolution: pixels along one side; None: the model's own.
        dtype: on a GPU.
        cpu_dtype: on a CPU; bfloat16 only counts where the CPU multiplies it natively, which is float32 otherwise.
        changes: to the method's default `Settings`, in the order in which they apply (`Settings.replace`).
        switches: memory and speed.
        licence, notes: for people.
        said: the keys, and the switches, that the file or what it extends gives; the others are open.
    """

    name: str
    model: str = ""
    segmenter: str = ""
    family: str = ""
    mask_input: bool | None = None
    resolution: int | None = None
    dtype: str = "float16"
    cpu_dtype: str = "float32"
    changes: tuple[Mapping[str, Any], ...] = ()
    switches: Switches = field(default_factory=Switches)
    licence: str = ""
    notes: str = ""
    said: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.family and self.family not in DENOISERS:
            raise ValueError(f"family: expected one of {', '.join(DENOISERS)}, got {self.family!r}")
        for name, dtype in (("dtype", self.dtype), ("cpu_dtype", self.cpu_dtype)):
            if dtype not in DTYPES:
                raise ValueError(f"{name}: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        if self.mask_input not in (None, True, False):
            raise ValueError(f"mask_input: expected true or false, got {self.mask_input!r}")
        if self.resolution is not None and (type(self.resolution) is not int or self.resolution < 8):
            raise ValueError(f"resolution: expected a number of pixels, got {self.resolution!r}")
        self.settings  # noqa: B018 - checks them

    @cached_property
    def settings(self) -> Settings:
        """How the model completes unless told otherwise."""
        settings = Settings()
        for change in self.changes:
            settings = settings.replace(**change)
        return settings

    @property
    def places(self) -> dict[str, str]:
        """Every place that the profile names, by what lies there."""
        named = {"model": self.model, "segmenter": self.segmenter}
        named |= {name: getattr(self.switches, name) for name in ("vae", "decoder", "lora")}
        return {name: place for name, place in named.items() if place}


@dataclass(frozen=True)
class Found:
    """A profile whose places were found on this machine; `profile.switches` holds paths only.

    Attributes:
        folder: the pipeline's folder.
        segmenter: the segmenter's folder or ``.pth`` file.
    """

    profile: Profile
    folder: Path
    segmenter: Path


def shipped_names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_profile(model: str | Path, *, _extending: tuple[Path, ...] = ()) -> Profile:
    """The profile of a model given by name, profile file, folder or hub id.

    Raises:
        ModelError: none of these.
        ValueError: the profile is malformed; the message names file and key.
    """
    text, path = str(model), Path(model).expanduser()
    if text in shipped_names():
        return _read(SHIPPED / f"{text}.yaml")
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return _read(path, _extending)
    if path.is_dir():
        return _folder_profile(path.absolute())
    if path.suffix in SINGLE_FILES and path.is_file():
        raise ModelError(f"{path.absolute()}: expected a folder; {how_to_convert(path)}")
    if hub.HUB_ID.fullmatch(text) and not text.startswith("."):
        reference = hub.current(text)
        same = [p for p in map(load_profile, shipped_names()) if p.model == reference]
        return same[0] if same else Profile(text, reference)
    raise ModelError(
        f"model: expected one of {', '.join(shipped_names())}, a folder, a profile file (.yaml) or a hub id "
        f"(organisation/name), got {text!r} (looked for {path.absolute()})"
    )


def find_model(model: str | Path, segmenter: str | Path | None = None) -> Found:
    """Find a model's files on this machine, without loading them and without the network.

    Args:
        segmenter: instead of the profile's: a folder, a ``.pth`` file or a hub id.

    Raises:
        ModelError: something is missing or of the wrong kind; the message says what, where it was looked for, and how
            to get it.
        ValueError: the profile is malformed.
    """
    profile = load_profile(model)
    if not profile.model:
        raise ModelError(
            f"model {profile.name!r} has no network, so there is no pipeline to load: the command line and the node "
            "answer it directly; in Python, ask scene.Scene(image, masks).geometric(i)"
        )
    folder = locate(profile.model, str(model))
    own = folder / FOLDER_PROFILE
    if own.is_file():  # what the folder brings, beneath what the profile says
        brought = _read(own)
        profile = _filled(profile, brought)
        profile = dataclasses.replace(profile, changes=(*brought.changes, *profile.changes))
    _check_family(profile, folder)
    paths = {n: str(locate(p, str(model))) for n, p in profile.places.items() if n not in ("model", "segmenter")}
    profile = dataclasses.replace(profile, switches=profile.switches.replace(**paths))
    place, whose = (str(segmenter), str(segmenter)) if segmenter else (profile.segmenter, str(model))
    return Found(profile, folder, _find_segmenter(place, folder, whose))


def _filled(profile: Profile, brought: Profile) -> Profile:
    """The profile, and where it says nothing what the model's folder brings; settings apart."""
    open_ = brought.said - profile.said
    options = {
        name: getattr(brought, name) for name in ("segmenter", "dtype", "cpu_dtype", "resolution") if name in open_
    }
    switches = {name: getattr(brought.switches, name) for name in SWITCH_NAMES & open_}
    return dataclasses.replace(profile, switches=profile.switches.replace(**switches), **options)


def locate(place: str, name: str) -> Path:
    """The path of a place.

    Args:
        name: whose it is, for the message.

    Raises:
        ModelError: nothing there.
    """
    path = Path(place).expanduser()
    if path.exists():
        return path.absolute()
    if not is_hub_id(place):
        raise ModelError(f"model {name!r}: {path.absolute()} not found")
    found = hub.cached(place)
    if found is None:
        raise ModelError(
            f"model {name!r}: {place} is not on this machine (looked in {hub.cache_folder(place)}). "
            f"Fetch it with `amodal models download {name}`; nothing is downloaded without being asked"
        )
    return found


def is_hub_id(place: str) -> bool:
    return not place.startswith((".", "/", "~")) and hub.HUB_ID.fullmatch(place) is not None


def _find_segmenter(place: str, folder: Path, name: str) -> Path:
    path = locate(place, name) if place else folder / "segmenter"
    if not path.exists():
        raise ModelError(
            f"segmenter folder not found: {path} ({path / 'config.json'} not found). The model brings none: name one, "
            "such as facebook/sam-vit-large"
        )
    if path.is_dir() and not (path / "config.json").is_file():
        files = ", ".join(sorted(p.name for p in path.glob("*.pth")))
        hint = f"; for a checkpoint name the file itself ({files})" if files else ""
        raise ModelError(f"{path / 'config.json'} not found: expected SAM or SAM 2 in the layout of transformers{hint}")
    return path


def _check_family(profile: Profile, folder: Path) -> None:
    """SDXL under a Stable Diffusion profile, four channels where nine were expected: said before anything is loaded."""
    family = family_of(folder)
    if profile.family not in ("", family):
        fitting = ", ".join(n for n in shipped_names() if load_profile(n).family == family)
        raise ModelError(f"{folder}: profile {profile.name!r} is for {profile.family}, got {family}; use {fitting}")
    denoiser = folder / DENOISERS[family]
    if profile.mask_input is None or not denoiser.is_dir():
        return
    config = read_json(denoiser / "config.json")
    plain = config.get("out_channels") or config["in_channels"]
    if (config["in_channels"] > plain) != profile.mask_input:
        wanted = "with" if profile.mask_input else "without"
        raise ModelError(
            f"{denoiser}: profile {profile.name!r} expects a denoiser {wanted} mask input, got "
            f"{config['in_channels']} input channels; use an inpainting model, or a profile with the other mask_input"
        )


def _folder_profile(folder: Path) -> Profile:
    """A bare folder's: what its family's profile sets, and above it what its own file says."""
    own = folder / FOLDER_PROFILE
    family = FAMILIES.get(_class_name(folder), "")
    base = load_profile(FAMILY_PROFILES[family]).changes if family else ()
    profile = _read(own) if own.is_file() else Profile(folder.name)
    return dataclasses.replace(profile, name=folder.name, model=str(folder), changes=(*base, *profile.changes))


def _class_name(folder: Path) -> str:
    index = folder / "model_index.json"
    return read_json(index).get("_class_name", "") if index.is_file() else ""


def _read(path: Path, extending: tuple[Path, ...] = ()) -> Profile:
    """A profile file.

    Args:
        extending: the files that led here by ``extends``.

    Raises:
        ValueError: malformed; the message names file and key.
    """
    try:
        chain = (*extending, path.resolve())
        if path.resolve() in extending:
            raise ValueError(f"extends: a loop: {' -> '.join(p.name for p in chain)}")
        content = yaml.safe_load(path.read_text()) or {}
        if not isinstance(content, dict):
            raise ValueError(f"expected a mapping, got {type(content).__name__}")
        return _profile(path, content, chain)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _profile(path: Path, content: dict[str, Any], chain: tuple[Path, ...]) -> Profile:
    base = Profile(path.stem)
    if "extends" in content:
        base = load_profile(_beside(content.pop("extends"), path.parent), _extending=chain)
    known = {option.name for option in dataclasses.fields(Profile)} - {"name", "said", "changes"} | {"settings"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; there are extends, {', '.join(sorted(known))}")
    own = _mapping(content, "settings")
    switches = _mapping(content, "switches")
    for name in ("vae", "decoder", "lora"):
        if name in switches:
            switches[name] = _anchored(switches[name], path.parent)
    for name in ("model", "segmenter"):
        if name in content:
            content[name] = _anchored(content[name], path.parent)
    said = base.said | content.keys() | switches.keys()
    content |= {"said": said, "switches": base.switches.replace(**switches)}
    content.pop("settings", None)
    return dataclasses.replace(base, name=path.stem, changes=(*base.changes, own) if own else base.changes, **content)


def _mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a mapping, got {value!r}")
    return dict(value)


def _beside(name: Any, folder: Path) -> str | Path:
    """What a file in `folder` extends: a file beside it, where there is one of that name."""
    if not isinstance(name, str):
        raise ValueError(f"extends: expected a profile's name or file, got {name!r}")
    beside = folder / Path(name).expanduser()
    is_file = name.startswith(".") or beside.suffix in (".yaml", ".yml") or beside.exists()
    return beside if name not in shipped_names() and is_file else name


def _anchored(place: Any, folder: Path) -> str:
    """A place as written in a file in `folder`: relative paths are relative to it."""
    if not isinstance(place, str):
        raise ValueError(f"expected a path or a hub id, got {place!r}")
    return str((folder / place).resolve()) if place.startswith(".") else str(Path(place).expanduser()) if place else ""
