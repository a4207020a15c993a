"""The empty prompt's embedding: stored beside the weights, or computed once with text encoders that are dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from amodal_ros.completion.backends.loading import first_line, load_component
from amodal_ros.errors import ModelError

#: In place of the text encoders: {"prompt_embeds": (1, tokens, width)} and, for families that pool, also
#: {"pooled_prompt_embeds": (1, width)}.
PROMPT_FILE = "prompt_embeds.safetensors"

Prompt = dict[str, torch.Tensor]


def stored_prompt(folder: Path, names: Iterable[str]) -> Prompt | None:
    """The stored embedding, None where the folder has none.

    Raises:
        ModelError: the file cannot be read or lacks a tensor.
    """
    path = folder / PROMPT_FILE
    if not path.is_file():
        if not (folder / "text_encoder").is_dir():
            raise ModelError(f"{folder}: expected text_encoder/ with tokenizer/, or {PROMPT_FILE}; found neither")
        return None
    try:
        stored = load_file(path)
        return {name: stored[name].clone() for name in names}  # what safetensors reads stays mapped to its file
    except Exception as error:  # safetensors' own exceptions share no base class with KeyError
        raise ModelError(f"{path}: expected tensors {', '.join(names)}: {error}") from error


@dataclass(frozen=True)
class ClipEmbedding:
    """A CLIP text encoder's answer to the empty prompt: hidden states (1, tokens, width) and pooled (1, width)."""

    last: torch.Tensor
    last_but_one: torch.Tensor
    pooled: torch.Tensor


@torch.inference_mode()
def clip_embedding(folder: Path, part: str, dtype: torch.dtype, projected: bool = False) -> ClipEmbedding:
    """Ask one of a pipeline's CLIP text encoders.

    Args:
        part: which: ``""`` or ``"_2"``.
        projected: it is a `CLIPTextModelWithProjection`, and the projection is what is pooled.

    Raises:
        ModelError: the encoder or its tokenizer is missing or cannot be used.
    """
    # Imported here: models with a stored embedding, such as the shipped one, need no text encoder.
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer = load_tokenizer(CLIPTokenizer, folder / f"tokenizer{part}")
    cls = CLIPTextModelWithProjection if projected else CLIPTextModel
    encoder = load_component(cls, folder / f"text_encoder{part}", dtype)
    tokens = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    out = encoder(tokens.input_ids, output_hidden_states=True)
    pooled = out.text_embeds if projected else out.pooler_output
    return ClipEmbedding(out.last_hidden_state.clone(), out.hidden_states[-2].clone(), pooled.clone())


def check_prompt(prompt: Prompt, expected: dict[str, tuple[int, ...]]) -> None:
    """Raises ModelError where an embedding is missing or of another width; the number of tokens is free."""
    for name, shape in expected.items():
        got = tuple(prompt[name].shape) if name in prompt else None
        if got is None or len(got) != len(shape) or (got[0], got[-1]) != (shape[0], shape[-1]):
            raise ModelError(f"prompt embedding {name}: expected {shape}, any number of tokens, got {got}")


def load_tokenizer(cls: type[Any], folder: Path) -> Any:
    """A tokenizer of `transformers` from a local folder.

    Raises:
        ModelError: it is missing or cannot be read.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: component not found (expected {cls.__name__})")
    try:
        return cls.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library raises many kinds; the folder's name is what helps
        raise ModelError(f"{folder}: could not load {cls.__name__}: {first_line(error)}") from error
