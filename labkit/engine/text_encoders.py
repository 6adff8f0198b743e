"""Captions as the conditions of a U-Net: one CLIP text encoder of Stable Diffusion, two of SDXL with the sizes.

N captions, L tokens, D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from labkit.errors import LabError
from labkit.reading import CROPS
from labkit.text import shown

SIZES = "time_ids"                                            # SDXL's condition that does not come from the caption


def check_length(name: str, part: str, tokenizer: Any, text_encoder: torch.nn.Module) -> None:
    """Raise LabError where a base's tokenizer makes captions that its text encoder does not take."""
    most = text_encoder.config.max_position_embeddings
    if not 2 < tokenizer.model_max_length <= most:
        raise LabError(f"base: the {part} of {name} makes captions of {shown(tokenizer.model_max_length)} tokens, "
                       f"its text encoder takes {most}: "
                       f"set model_max_length in {part}/tokenizer_config.json to that.")


def encode_one(tokenizer: Any, text_encoder: torch.nn.Module, captions: Sequence[str]) -> Mapping[str, Tensor]:
    """Encode captions as StableDiffusionPipeline does: encoder_hidden_states (N, L, D) float32."""
    ids = _tokens(tokenizer, captions)
    is_masked = getattr(text_encoder.config, "use_attention_mask", False)
    mask = ids.attention_mask.to(text_encoder.device) if is_masked else None
    hidden = text_encoder(ids.input_ids.to(text_encoder.device), attention_mask=mask)[0]
    return {"encoder_hidden_states": hidden.float()}


def encode_two(pairs: Sequence[tuple[Any, torch.nn.Module]], captions: Sequence[str], *,
               zeros_for_empty: bool) -> dict[str, Tensor]:
    """Encode captions as StableDiffusionXLPipeline does, with both (tokenizer, text encoder).

    encoder_hidden_states (N, L, D): the last layer but one of both, side by side; text_embeds (N, D2), the second's
    projection; float32. Podell et al. 2023, section 2.1.

    zeros_for_empty    give zeros for an empty caption, as that pipeline does for its negative prompt
    """
    hidden = []
    for tokenizer, text_encoder in pairs:
        ids = _tokens(tokenizer, captions).input_ids.to(text_encoder.device)
        encoded = text_encoder(ids, output_hidden_states=True)
        hidden.append(encoded.hidden_states[-2])
    cond = {"encoder_hidden_states": torch.cat(hidden, dim=-1).float(), "text_embeds": encoded[0].float()}
    if zeros_for_empty:
        for value in cond.values():
            value[[i for i, caption in enumerate(captions) if not caption]] = 0.0
    return cond


def size_numbers(original: tuple[int, int], size: tuple[int, int], crop: str = "center") -> list[float]:
    """Return the numbers by which SDXL is told a picture's size: (height, width) before, (top, left), (height, width).

    original    (height, width) in pixels, before it was scaled to cover `size` and what lies outside was cut off.
                Podell et al. 2023, section 2.2; diffusers' train_text_to_image_lora_sdxl.py
    size        (height, width) in pixels of what is used
    crop        one of CROPS: where that lies
    """
    scale = max(used / side for used, side in zip(size, original, strict=True))
    top, left = (round((side * scale - used) * place)
                 for side, used, place in zip(original, size, reversed(CROPS[crop]), strict=True))
    return [float(number) for number in (*original, top, left, *size)]


def sent(cond: Mapping[str, Tensor], device: torch.device | None, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return conditions on a device (None: where they are) in `dtype`; sizes stay float32, which holds them."""
    return {name: value.to(device, torch.float32 if name == SIZES else dtype) for name, value in cond.items()}


def _tokens(tokenizer: Any, captions: Sequence[str]) -> Any:
    return tokenizer(list(captions), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
                     return_tensors="pt")
