"""Small models of the real classes, saved in the real layouts, for tests that load and run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    Sam2Config,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoModel,
    SamConfig,
    SamModel,
    T5Config,
    T5EncoderModel,
)
from transformers.modeling_outputs import BaseModelOutput

RESOLUTION = 32


def save_stable_diffusion(
    folder: Path, mask_input: bool = True, autoencoder: str = "kl", seed: int = 0, segmenter: bool = True
) -> Path:
    """A pipeline folder of a few thousand parameters, at 32 px with 4 px latent cells (or 8 cells for "tiny")."""
    torch.manual_seed(seed)
    vae = small_autoencoder() if autoencoder == "kl" else small_decoder()
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
    save_ddim(folder)
    save_file({"prompt_embeds": torch.randn(1, 3, 8)}, folder / "prompt_embeds.safetensors")
    name = "StableDiffusionInpaintPipeline" if mask_input else "StableDiffusionPipeline"
    save_index(folder, name, "unet")
    if segmenter:
        save_sam(folder / "segmenter", seed)
    return folder


def save_sdxl(folder: Path, mask_input: bool = True, text_encoders: bool = False, seed: int = 0) -> Path:
    """A ``StableDiffusionXLInpaintPipeline`` folder, with stored embeddings or with both text encoders."""
    torch.manual_seed(seed)
    small_autoencoder().save_pretrained(folder / "vae")
    UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        in_channels=9 if mask_input else 4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 8,
    ).save_pretrained(folder / "unet")
    save_ddim(folder)
    if text_encoders:
        save_clip(folder, "", 8)
        save_clip(folder, "_2", 8, projected=True)
    else:
        embeds = {"prompt_embeds": torch.randn(1, 7, 16), "pooled_prompt_embeds": torch.randn(1, 8)}
        save_file(embeds, folder / "prompt_embeds.safetensors")
    save_index(folder, "StableDiffusionXLInpaintPipeline" if mask_input else "StableDiffusionXLPipeline", "unet")
    save_sam(folder / "segmenter", seed)
    return folder


def save_flux(folder: Path, mask_input: bool = True, text_encoders: bool = False, seed: int = 0) -> Path:
    """A ``FluxFillPipeline`` folder at 32 px: 8 x 8 latent cells of 4 channels, 4 x 4 tokens."""
    torch.manual_seed(seed)
    small_autoencoder(shift_factor=0.1).save_pretrained(folder / "vae")
    FluxTransformer2DModel(
        in_channels=16 + 16 + 64 if mask_input else 16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=8,
        guidance_embeds=True,
        axes_dims_rope=(2, 2, 4),
    ).save_pretrained(folder / "transformer")
    FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
    if text_encoders:
        save_clip(folder, "", 8)
        save_t5(folder, "_2", 16)
    else:
        embeds = {"prompt_embeds": torch.randn(1, 5, 16), "pooled_prompt_embeds": torch.randn(1, 8)}
        save_file(embeds, folder / "prompt_embeds.safetensors")
    save_index(folder, "FluxFillPipeline" if mask_input else "FluxPipeline", "transformer")
    save_sam(folder / "segmenter", seed)
    (folder / "amodal.yaml").write_text(f"resolution: {RESOLUTION}\n")
    return folder


def small_autoencoder(**options) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16),
        norm_num_groups=4,
        sample_size=RESOLUTION,
        **options,
    )


def small_decoder() -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )


def save_ddim(folder: Path) -> None:
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")


def save_index(folder: Path, pipeline: str, denoiser: str) -> None:
    classes = {"unet": "UNet2DConditionModel", "transformer": "FluxTransformer2DModel"}
    parts = {denoiser: ["diffusers", classes[denoiser]], "text_encoder": [None, None], "tokenizer": [None, None]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **parts}))


def save_clip(folder: Path, part: str, width: int, projected: bool = False) -> None:
    """A CLIP text encoder with its tokenizer, of four words and seven tokens."""
    config = CLIPTextConfig(
        vocab_size=4,
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
    )
    cls = CLIPTextModelWithProjection if projected else CLIPTextModel
    cls(config).save_pretrained(folder / f"text_encoder{part}")
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(vocabulary), str(merges), model_max_length=7)
    tokenizer.save_pretrained(folder / f"tokenizer{part}")
    vocabulary.unlink()
    merges.unlink()


def save_t5(folder: Path, part: str, width: int) -> None:
    """A T5 encoder with a tokenizer of three words."""
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    config = T5Config(vocab_size=3, d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder / f"text_encoder{part}")
    words = Tokenizer(models.Unigram([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -1.0)], unk_id=2))
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    tokenizer.save_pretrained(folder / f"tokenizer{part}")
    path = folder / f"tokenizer{part}" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "T5TokenizerFast"}))


#: What the tiny models of SAM 2 and of its kin share.
_PROMPT_AND_MASK = dict(
    prompt_encoder_config=dict(hidden_size=16, image_size=RESOLUTION, patch_size=16, mask_input_channels=4),
    mask_decoder_config=dict(hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=8),
)
_MEMORY = dict(
    memory_attention_hidden_size=16,
    memory_attention_num_layers=1,
    memory_attention_rope_feat_sizes=[2, 2],
    memory_encoder_hidden_size=16,
    memory_encoder_output_channels=4,
    mask_downsampler_embed_dim=16,
    memory_fuser_embed_dim=16,
    memory_fuser_intermediate_dim=16,
    image_size=RESOLUTION,
)


def save_sam2(folder: Path, video: bool = False, seed: int = 0) -> Path:
    """A `Sam2Model` at 32 px; `video`: as the published checkpoints are, the video model that contains it."""
    torch.manual_seed(seed)
    sizes = [[RESOLUTION // s] * 2 for s in (4, 8, 16)]
    parts = dict(
        vision_config=dict(
            backbone_config=dict(
                model_type="sam2_hiera_det_model",
                hidden_size=8,
                image_size=[RESOLUTION] * 2,
                blocks_per_stage=[1, 1, 2, 1],
                embed_dim_per_stage=[8, 16, 32, 64],
                num_attention_heads_per_stage=[1, 1, 1, 1],
                window_size_per_stage=[4, 4, 4, 2],
                window_positional_embedding_background_size=[2, 2],
                global_attention_blocks=[3],
            ),
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=sizes,
            fpn_hidden_size=16,
        ),
        **_PROMPT_AND_MASK,
    )
    if not video:
        save_lively(Sam2Model(Sam2Config(**parts)), folder)
        return folder
    memory = dict(
        **_MEMORY,
        memory_attention_feed_forward_hidden_size=16,
    )
    save_lively(Sam2VideoModel(Sam2VideoConfig(**parts, **memory)), folder)
    return folder


def save_edgetam(folder: Path, video: bool = False, seed: int = 0) -> Path:
    """An `EdgeTamModel` at 32 px. In place of RepViT, which needs timm and with it torchvision, four convolutions."""
    from transformers import AutoConfig, AutoModel, EdgeTamConfig, EdgeTamModel, EdgeTamVideoConfig, EdgeTamVideoModel

    AutoConfig.register("four_convolutions", FourConvolutionsConfig, exist_ok=True)
    AutoModel.register(FourConvolutionsConfig, FourConvolutions, exist_ok=True)
    torch.manual_seed(seed)
    parts = dict(
        vision_config=dict(
            model_type="edgetam_vision_model",
            backbone_config={"model_type": "four_convolutions"},
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[RESOLUTION // s] * 2 for s in (4, 8, 16)],
            fpn_hidden_size=16,
        ),
        **_PROMPT_AND_MASK,
    )
    if not video:
        save_lively(EdgeTamModel(EdgeTamConfig(**parts)), folder)
        return folder
    memory = dict(
        **_MEMORY,
        memory_attention_mlp_hidden_size=16,
        perceiver_resampler_hidden_size=4,
        perceiver_resampler_attention_head_dim=4,
        perceiver_resampler_mlp_intermediate_size=8,
    )
    save_lively(EdgeTamVideoModel(EdgeTamVideoConfig(**parts, **memory)), folder)
    return folder


class FourConvolutionsConfig(PreTrainedConfig):
    model_type = "four_convolutions"


class FourConvolutions(PreTrainedModel):
    """Features at a quarter to a thirty-second of the image's size, as RepViT gives them."""

    config_class = FourConvolutionsConfig

    def __init__(self, config):
        super().__init__(config)
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(*channels, kernel, kernel)
            for channels, kernel in (((3, 8), 4), ((8, 16), 2), ((16, 32), 2), ((32, 64), 2))
        )
        self.post_init()

    def forward(self, pixel_values, **options):
        features = [self.layers[0](pixel_values)]
        for layer in self.layers[1:]:
            features.append(layer(features[-1].relu()))
        return BaseModelOutput(last_hidden_state=features)


def save_lively(model, folder: Path) -> None:
    """With weights large enough for answers well above rounding; what a fresh SAM 2 answers is almost zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)


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


def save_mask2former(folder: Path, seed: int = 0) -> Path:
    """A small random Mask2Former of two classes with its image processor."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    torch.manual_seed(seed)
    stages = [f"stage{k}" for k in (1, 2, 3, 4)]
    ones = [1, 1, 1, 1]
    backbone = SwinConfig(image_size=64, embed_dim=8, depths=ones, num_heads=ones, window_size=4, out_features=stages)
    config = Mask2FormerConfig(
        backbone_config=backbone,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        id2label={0: "car", 1: "person"},
        label2id={"car": 0, "person": 1},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}, num_labels=2, ignore_index=255).save_pretrained(
        folder
    )
    return folder
