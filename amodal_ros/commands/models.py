"""`amodal models`: list, check, download and export."""

from __future__ import annotations

import argparse
from pathlib import Path

from amodal_ros.commands.parser import Parser
from amodal_ros.errors import ModelError
from amodal_ros.models import hub
from amodal_ros.models.profiles import Profile, find_model, is_hub_id, load_profile, locate, shipped_names

GEOMETRIC = "no network: there is nothing to load"

EXAMPLES = (
    "amodal models check embedded",
    "amodal models export sdxl /media/usb/sdxl",
)
#: verb -> what its --help ends with.
VERB_EXAMPLES = {
    "list": ("amodal models list", "amodal models list | grep -i apache"),
    "check": ("amodal models check embedded", "amodal models check ./sdxl --segmenter facebook/sam-vit-large"),
    "download": ("amodal models download sd2", "amodal models download facebook/sam-vit-large"),
    "export": ("amodal models export sdxl /media/usb/sdxl", "amodal models export ./mine.yaml /media/usb/mine"),
}


def add_arguments(parser: Parser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", help="profiles, what of them is on this machine, licences")
    check = verbs.add_parser("check", help="is everything there, and does it fit")
    check.add_argument("model", help="profile, folder, profile file or hub id")
    check.add_argument("--segmenter", help="folder, .pth file or hub id, in place of the model's own")
    download = verbs.add_parser("download", help="fetch a model; the only command that uses the network")
    download.add_argument("model", help="profile, profile file or hub id")
    export = verbs.add_parser("export", help="one folder for a machine without network")
    export.add_argument("model", help="profile, folder, profile file or hub id")
    export.add_argument("out", type=Path, help="folder to write; new or empty")
    export.add_argument("--segmenter", help="folder, .pth file or hub id, in place of the model's own")
    for name, examples in VERB_EXAMPLES.items():
        verbs.choices[name].add_examples(*examples)


def run(args: argparse.Namespace) -> int:
    return {"list": _list, "check": _check, "download": _download, "export": _export}[args.verb](args)


def _list(args: argparse.Namespace) -> int:
    print(f"{'name':<15} {'on this machine':<18} {'size':>8}  licence")
    for profile in map(load_profile, shipped_names()):
        present, size = _presence(profile)
        print(f"{profile.name:<15} {present:<18} {size:>8}  {profile.licence}")
        for name, place in profile.places.items():
            if is_hub_id(place):
                print(f"{'':<15} {name}: {place}")
        if profile.notes:
            print(f"{'':<15} {profile.notes}")
    return 0


def _presence(profile: Profile) -> tuple[str, str]:
    """How much of a profile is here, and its size on disk."""
    if not profile.model:
        return "needs no weights", "-"
    found = []
    for place in profile.places.values():
        try:
            found.append(locate(place, profile.name))
        except (ModelError, ImportError):  # a light installation has no hub library, and so no cache of its
            continue
    size = sum(_bytes(path) for path in found)
    some = f"{len(found)} of {len(profile.places)} parts"
    present = "yes" if len(found) == len(profile.places) else some if found else "no"
    return present, f"{size / 1e9:.2f} GB" if size else "-"


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else (p for p in path.rglob("*") if p.is_file())
    return sum(p.stat().st_size for p in files)


def _check(args: argparse.Namespace) -> int:
    if not args.segmenter and not load_profile(args.model).model:
        print(GEOMETRIC)
        return 0
    found = find_model(args.model, args.segmenter)
    from amodal_ros.commands.check_model import check

    parts = check(found)
    print(f"{args.model}: {found.folder}")
    for part in parts:
        size = f"{part.parameters / 1e6:,.1f} M" if part.parameters else ""
        state = (
            f"PROBLEM: {part.problem} (looked at {part.path})" if part.problem else f"{part.cls} {part.dtype} {size}"
        )
        print(f"  {part.name:<16} {state.rstrip()}")
    problems = sum(bool(part.problem) for part in parts)
    if problems:
        print(f"{problems} problem{'s' * (problems > 1)}; {_fix(found.profile, args.model)}")
    return 1 if problems else 0


def _fix(profile: Profile, model: str) -> str:
    if any(map(is_hub_id, profile.places.values())):
        return f"`amodal models download {model}` fetches what is missing"
    return "complete the folder from where it came, or change what the line names"


def _download(args: argparse.Namespace) -> int:
    profile = load_profile(args.model)
    places = {name: place for name, place in profile.places.items() if is_hub_id(place)}
    if not places:
        print(f"{args.model}: nothing to download")
    for name, place in places.items():
        print(f"{name}: {place}")
        print(f"  {hub.download(place)}")
    return 0


def _export(args: argparse.Namespace) -> int:
    found = find_model(args.model, args.segmenter)
    from amodal_ros.commands.export_model import export

    export(found, args.out)
    print(f"{args.out}: {_bytes(args.out) / 1e9:.2f} GB; load it with model:={args.out} or --model {args.out}")
    return 0
