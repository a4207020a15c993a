"""Small models of the real classes, saved in the real layouts, for tests that load and run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import SamConfig, SamModel

RESOLUTION = 32


def save_stable_diffusion(
    folder: Path, mask_input: bool = True, autoencoder: str = "kl", seed: int = 0, segmenter: bool = True
) -> Path:
    """A pipeline folder of a few thousand parameters, at 32 px with 4 px latent cells (or 8 cells for "tiny")."""
    torch.manual_seed(seed)
    if autoencoder == "kl":
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 16),
            norm_num_groups=4,
            sample_size=RESOLUTION,
        )
    else:
        vae = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
        )
    unet = UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        in_channels=9 if mask_input else 4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    )
    vae.save_pretrained(folder / "vae")
    unet.save_pretrained(folder / "unet")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    save_file({"prompt_embeds": torch.randn(1, 3, 8)}, folder / "prompt_embeds.safetensors")
    name = "StableDiffusionInpaintPipeline" if mask_input else "StableDiffusionPipeline"
    index = {
        "_class_name": name,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", type(vae).__name__],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": [None, None],
        "tokenizer": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    if segmenter:
        save_sam(folder / "segmenter", seed)
    return folder


def save_sam(folder: Path, seed: int = 0) -> Path:
    """A `SamModel` at 32 px with 8 px patches."""
    torch.manual_seed(seed)
    config = SamConfig(
        vision_config=dict(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=RESOLUTION,
            patch_size=8,
            output_channels=8,
            window_size=0,
            global_attn_indexes=[0, 1],
            num_pos_feats=4,
            mlp_dim=32,
        ),
        prompt_encoder_config=dict(hidden_size=8, image_size=RESOLUTION, patch_size=8, mask_input_channels=4),
        mask_decoder_config=dict(
            hidden_size=8, mlp_dim=16, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=8
        ),
    )
    SamModel(config).save_pretrained(folder)
    return folder


def scene_of_two(height: int = 60, width: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image with a disc partly behind a box: RGB image, the disc's visible mask, the box's mask."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    ys, xs = np.mgrid[:height, :width]
    disc = (ys - height // 2) ** 2 + (xs - width // 2) ** 2 < (height // 4) ** 2
    box = (xs > width // 2 + 4) & (xs < width - 10) & (ys > height // 4) & (ys < height - 5)
    image[disc] = (200, 60, 40)
    image[box] = (40, 80, 210)
    return image, disc & ~box, box
