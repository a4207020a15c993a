"""The three networks, classes of `diffusers` and `transformers`, so that those libraries load what we ship."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

from training.recipe import LATENT_CHANNELS, LATENT_STRIDE, Recipe

PROMPT_TOKENS, PROMPT_WIDTH = 1, 16  # the empty prompt: the text encoder's place is kept, its cost is not


def build_vae(recipe: Recipe) -> AutoencoderTiny:
    """Autoencoder with stride 4 and 4 latent channels, without normalisation layers (those cost most on a CPU)."""
    blocks = (1, max(1, recipe.vae_blocks - 1), recipe.vae_blocks)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(recipe.vae_channels,) * 3,
        decoder_block_out_channels=(recipe.vae_channels,) * 3,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks[::-1],
        latent_channels=LATENT_CHANNELS,
    )
    _start_as_colour_codec(vae)
    return vae


#: Rows: brightness, red against green, yellow against blue; and their standard deviations over street crops.
COLOUR_AXES = ((1 / 3, 1 / 3, 1 / 3), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))
COLOUR_SPREAD = (0.22, 0.09, 0.09)
MEAN_COLOUR = 0.45


@torch.no_grad()
def _start_as_colour_codec(vae: AutoencoderTiny) -> None:
    """Let three latent channels start as the mean colour of each 4x4 cell, and the decoder as their inverse.

    From random weights colour takes thousands of steps to come in: this start has a lower loss than 900 steps of
    training from there, and leaves the training to the detail. The fourth channel and all residual blocks are free.
    """
    to_latent = torch.tensor(COLOUR_AXES) / torch.tensor(COLOUR_SPREAD)[:, None]
    mean = torch.full((3,), MEAN_COLOUR)
    here = ((1, 1, 1.0),)
    mean_of_four = ((1, 1, 0.25), (1, 2, 0.25), (2, 1, 0.25), (2, 2, 0.25))

    encoder = [layer for layer in vae.encoder.layers if isinstance(layer, nn.Conv2d)]
    _pass_through(encoder[0], torch.eye(3), here)
    for halving in encoder[1:-1]:
        _pass_through(halving, torch.eye(3), mean_of_four)
    _pass_through(encoder[-1], to_latent, here, -to_latent @ mean)

    decoder = [layer for layer in vae.decoder.layers if isinstance(layer, nn.Conv2d)]
    _pass_through(decoder[0], torch.linalg.inv(to_latent), here, mean)
    for doubling in decoder[1:]:
        _pass_through(doubling, torch.eye(3), here)

    for coder in (vae.encoder, vae.decoder):
        for block in coder.modules():
            if isinstance(block, AutoencoderTinyBlock):  # its skip carries the colours; the rest starts small
                block.conv[-1].weight[:3] *= 0.1
                block.conv[-1].bias[:3] = 0


def _pass_through(
    conv: nn.Conv2d, matrix: torch.Tensor, taps: tuple[tuple[int, int, float], ...], offset: torch.Tensor | None = None
) -> None:
    """The first channels out are `matrix` times the first channels in, weighted over the kernel's `taps`."""
    rows, columns = matrix.shape
    conv.weight[:rows] = 0
    for y, x, share in taps:
        conv.weight[:rows, :columns, y, x] = share * matrix
    if conv.bias is not None:
        conv.bias[:rows] = 0 if offset is None else offset


def save_component(model: ModelMixin, folder: Path) -> None:
    """`save_pretrained`, less what is not the model's: where it was loaded from, and `AutoencoderTiny`'s redundant list
    of channels, which the class warns about when it loads it."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    if isinstance(model, AutoencoderTiny):
        config.pop("block_out_channels", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def build_unet(recipe: Recipe) -> UNet2DConditionModel:
    """Inpainting UNet of Stable Diffusion's shape: 9 input channels [z (4), mask (1), masked-image latents (4)].

    Attention only in the middle block: there it sees the whole object, elsewhere it costs more than it gives.
    """
    depth = len(recipe.unet_channels)
    return UNet2DConditionModel(
        sample_size=recipe.resolution // LATENT_STRIDE,
        in_channels=2 * LATENT_CHANNELS + 1,
        out_channels=LATENT_CHANNELS,
        block_out_channels=recipe.unet_channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * depth,
        up_block_types=("UpBlock2D",) * depth,
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=PROMPT_WIDTH,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=min(16, recipe.unet_channels[0]),
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's betas, rescaled so that the last level is pure noise, as sampling starts from it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def build_segmenter(recipe: Recipe) -> SamModel:
    """SAM with a small ViT with global attention; masks come out at 4 / patch of the input's resolution."""
    width, layers, decoder = recipe.segmenter_width, recipe.segmenter_layers, max(32, recipe.segmenter_width // 3 * 2)
    shared = {"image_size": recipe.resolution, "patch_size": recipe.segmenter_patch}
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=width,
            output_channels=decoder,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // 32),
            use_rel_pos=False,
            window_size=0,
            global_attn_indexes=list(range(layers)),
            num_pos_feats=decoder // 2,
            **shared,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=decoder, **shared).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=decoder, mlp_dim=4 * decoder, num_attention_heads=4, iou_head_hidden_dim=decoder
        ).to_dict(),
    )
    model = SamModel(config)
    _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: SamModel) -> None:
    """Weights to start from: transformers' own (std 1e-10, frequencies of 96) only suit being overwritten."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    nn.init.normal_(model.vision_encoder.pos_embed, std=0.02)
    nn.init.normal_(model.shared_image_embedding.positional_embedding)
