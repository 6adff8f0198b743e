"""Stable Diffusion 1.5 and XL at reduced width with random weights, as folders and as original files."""

import json

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDTH = 32                    # of the first U-Net block and of the words; 320 and 768 in SD 1.5


def pipeline(folder, **noise_schedule):
    """Build the pipeline with weights that make its pictures lively; `noise_schedule` changes SD 1.5's."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=16, cross_attention_dim=WIDTH, attention_head_dim=8,
                                block_out_channels=(WIDTH, 2 * WIDTH, 2 * WIDTH, 2 * WIDTH))
    vae = _vae(0.18215)
    tokenizer = _tokenizer(folder / "tokenizer")
    text_encoder = CLIPTextModel(_words(tokenizer)).eval()
    _make_words_matter(unet, text_encoder)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                "num_train_timesteps": 1000, "steps_offset": 1,
                "set_alpha_to_one": False, "skip_prk_steps": True} | noise_schedule
    return StableDiffusionPipeline(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet,
                                   scheduler=PNDMScheduler(**schedule), safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False)


def xl_pipeline(folder):
    """Build a pipeline with SDXL's three blocks, two text encoders and conditions on sizes."""
    torch.manual_seed(0)
    second = 2 * WIDTH                                        # of the second text encoder's words and projection
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(WIDTH, 2 * WIDTH, 2 * WIDTH), transformer_layers_per_block=(1, 1, 2),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4, 4),
        cross_attention_dim=WIDTH + second, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + second)
    one, two = (_tokenizer(folder / name) for name in ("tokenizer", "tokenizer_2"))
    two.pad_token = "!"                                       # as in SDXL
    text_encoder = CLIPTextModel(_words(one)).eval()
    text_encoder_2 = CLIPTextModelWithProjection(_words(two, hidden_size=second, projection_dim=second,
                                                        hidden_act="gelu")).eval()
    _make_words_matter(unet, text_encoder, text_encoder_2)
    schedule = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                      steps_offset=1, timestep_spacing="leading")
    return StableDiffusionXLPipeline(vae=_vae(0.13025), text_encoder=text_encoder, tokenizer=one, unet=unet,
                                     text_encoder_2=text_encoder_2, tokenizer_2=two, scheduler=schedule,
                                     add_watermarker=False)


def write_xl_folder(folder):
    """Write the base of SDXL's kind in diffusers' layout, and give the folder."""
    xl_pipeline(folder).save_pretrained(folder)
    return folder


def _vae(scaling_factor):
    return AutoencoderKL(sample_size=128, block_out_channels=(32, 32, 64, 64), layers_per_block=2, latent_channels=4,
                         down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                         scaling_factor=scaling_factor)


def _words(tokenizer, **changes):
    return CLIPTextConfig(**{"vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 64,
                             "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 77,
                             "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
                             "pad_token_id": tokenizer.pad_token_id} | changes)


def _make_words_matter(unet, *text_encoders):
    """Make words count with so little training."""
    with torch.no_grad():
        for embedding in (m for encoder in text_encoders for m in encoder.modules()
                          if isinstance(m, torch.nn.Embedding)):
            embedding.weight.mul_(20)
        for name, parameter in unet.named_parameters():
            if "attn2.to_out.0.weight" in name:
                parameter.mul_(3)


def write_folder(folder, **noise_schedule):
    """Write the base in diffusers' layout, as its hub repository has it, and give the folder."""
    pipeline(folder, **noise_schedule).save_pretrained(folder)
    config = folder / "scheduler" / "scheduler_config.json"
    # SD 1.5's file has clip_sample, though the class does not know it.
    config.write_text(json.dumps(json.loads(config.read_text()) | {"clip_sample": False}, indent=2))
    return folder


def write_single_file(folder, path):
    """Write the weights of `folder` under the original Stable Diffusion keys into one .safetensors file."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    tensors = _pictures_part(pipe)
    tensors |= {"cond_stage_model.transformer." + key: value for key, value in _clip(pipe.text_encoder)}
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)
    return path


def write_xl_single_file(folder, path):
    """Write the weights of an SDXL folder under the original keys into one .safetensors file."""
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    tensors = _pictures_part(pipe, blocks=3)
    tensors |= {"conditioner.embedders.0.transformer." + key: value for key, value in _clip(pipe.text_encoder)}
    tensors |= {"conditioner.embedders.1.model." + key: value for key, value in _open_clip(pipe.text_encoder_2)}
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)
    return path


def _pictures_part(pipe, blocks=4):
    """Return U-Net and autoencoder under the original keys."""
    tensors = {}
    state = pipe.unet.state_dict()
    for key, value in zip(original_names(state, blocks), state.values(), strict=True):
        tensors["model.diffusion_model." + key] = value
    for key, value in _renamed(pipe.vae.state_dict(), _vae_names()):
        linear = "attn_1" in key and key.endswith("weight") and value.dim() == 2
        tensors["first_stage_model." + key] = value[:, :, None, None] if linear else value
    return tensors


def _clip(text_encoder):
    for key, value in text_encoder.state_dict().items():
        yield key if key.startswith("text_model.") else "text_model." + key, value


def _open_clip(text_encoder):
    """Yield a transformers text encoder under OpenCLIP's keys: queries, keys and values are one matrix there."""
    state = {key.removeprefix("text_model."): value for key, value in text_encoder.state_dict().items()}
    yield "text_projection", state.pop("text_projection.weight").T
    yield "logit_scale", torch.zeros(())
    yield "token_embedding.weight", state.pop("embeddings.token_embedding.weight")
    yield "positional_embedding", state.pop("embeddings.position_embedding.weight")
    for kind in ("weight", "bias"):
        for i in range(text_encoder.config.num_hidden_layers):
            parts = [state.pop(f"encoder.layers.{i}.self_attn.{x}_proj.{kind}") for x in "qkv"]
            yield f"transformer.resblocks.{i}.attn.in_proj_{kind}", torch.cat(parts)
    for key, value in state.items():
        if "position_ids" not in key:
            for theirs, original in OPEN_CLIP.items():
                key = key.replace(theirs, original)
            yield key, value


OPEN_CLIP = {"encoder.layers.": "transformer.resblocks.", "self_attn.": "attn.", "layer_norm1": "ln_1",
             "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "final_layer_norm": "ln_final"}


def _tokenizer(folder):
    folder.mkdir(parents=True)
    letters = [chr(i) for i in range(33, 127)]
    vocabulary = letters + [c + "</w>" for c in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=77)


def original_names(keys, blocks=4):
    """Return what the original Stable Diffusion code calls weights of diffusers' U-Net of so many levels."""
    names = []
    for key, _ in _renamed(dict.fromkeys(keys), _unet_names(blocks)):
        if "transformer_blocks" not in key and "_block" in key:
            for theirs, original in RESNET.items():
                key = key.replace(theirs, original)
        names.append(key)
    return names


def _renamed(state, names):
    for key, value in state.items():
        for theirs, original in names:
            key = key.replace(theirs, original)
        yield key, value


def _unet_names(blocks):
    names = [("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2"),
             ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
             ("conv_norm_out", "out.0"), ("conv_out", "out.2"), ("conv_in.", "input_blocks.0.0.")]
    for i in range(blocks):
        names += [(f"down_blocks.{i}.resnets.{j}.", f"input_blocks.{3 * i + j + 1}.0.") for j in range(2)]
        names += [(f"down_blocks.{i}.attentions.{j}.", f"input_blocks.{3 * i + j + 1}.1.") for j in range(2)]
        names += [(f"up_blocks.{i}.resnets.{j}.", f"output_blocks.{3 * i + j}.0.") for j in range(3)]
        names += [(f"up_blocks.{i}.attentions.{j}.", f"output_blocks.{3 * i + j}.1.") for j in range(3)]
        names += [(f"down_blocks.{i}.downsamplers.0.conv.", f"input_blocks.{3 * i + 3}.0.op."),
                  (f"up_blocks.{i}.upsamplers.0.", f"output_blocks.{3 * i + 2}.{1 if i == 0 and blocks == 4 else 2}.")]
    names += [("mid_block.attentions.0.", "middle_block.1."), ("mid_block.resnets.0.", "middle_block.0."),
              ("mid_block.resnets.1.", "middle_block.2.")]
    return names


RESNET = {"norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "norm2.": "out_layers.0.", "conv2.": "out_layers.3.",
          "time_emb_proj.": "emb_layers.1.", "conv_shortcut.": "skip_connection."}


def _vae_names():
    names = [("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out"),
             ("mid_block.attentions.0.", "mid.attn_1."), ("group_norm.", "norm."),
             ("to_q.", "q."), ("to_k.", "k."), ("to_v.", "v."), ("to_out.0.", "proj_out.")]
    for i in range(4):
        names += [(f"down_blocks.{i}.resnets.", f"down.{i}.block."),
                  (f"down_blocks.{i}.downsamplers.0.", f"down.{i}.downsample."),
                  (f"up_blocks.{i}.resnets.", f"up.{3 - i}.block."),
                  (f"up_blocks.{i}.upsamplers.0.", f"up.{3 - i}.upsample.")]
    return names + [("mid_block.resnets.0.", "mid.block_1."), ("mid_block.resnets.1.", "mid.block_2.")]
