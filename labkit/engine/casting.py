"""Cast a frozen U-Net to another precision once; `torch.autocast` would cast each weight in each forward pass."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cast(unet: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a U-Net of the same weights in `dtype`; the given one stays as it is."""
    weights = [weight for weight in (*unet.parameters(), *unet.buffers()) if weight.is_floating_point()]
    # told in advance what each weight becomes, the copy never holds one in both precisions
    copied = {id(weight): nn.Parameter(weight.data.to(dtype), False) for weight in weights
              if isinstance(weight, nn.Parameter)}
    copied |= {id(weight): weight.to(dtype) for weight in weights if not isinstance(weight, nn.Parameter)}
    return fit_for_cpu(copy.deepcopy(unet, copied))


def fit_for_cpu(unet: nn.Module) -> nn.Module:
    """Let 16-bit weights on a CPU attend in float32, and return the U-Net.

    In 16 bits the backward pass of attention takes all the time there that the matrix products save.
    """
    weight = next(unet.parameters())
    if weight.device.type == "cpu" and weight.dtype != torch.float32:
        unet.set_attn_processor({name: AttendInFloat32() if type(one).__name__ == "AttnProcessor2_0" else one
                                 for name, one in unet.attn_processors.items()})
    return unet


class AttendInFloat32:
    """Attend as diffusers' AttnProcessor2_0 does in a U-Net's transformer blocks, the attention alone in float32."""

    def __call__(self, attn: nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, temb: Tensor | None = None) -> Tensor:
        """Return (rows, positions, C) for hidden_states of that shape and words (rows, L, D); None: self-attention."""
        words = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        # (rows, heads, positions, C / heads)
        query, key, value = (layer.unflatten(-1, (attn.heads, -1)).transpose(1, 2).float()
                             for layer in (attn.to_q(hidden_states), attn.to_k(words), attn.to_v(words)))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        return attn.to_out[0](attended.transpose(1, 2).flatten(2).to(hidden_states.dtype))
