"""What SDXL is predicted to keep at 1024 pixels, in GiB a row, is what LOG.md states of it."""

import pytest
import torch
from weightless import GiB, conditions, config, weightless

from labkit.engine.memory import predict

SDXL = {"sample_size": 128, "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048, "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}
SDXL_COND = {"encoder_hidden_states": (77, 2048), "text_embeds": (1280,), "time_ids": (6,)}


@pytest.mark.parametrize("dtype, checkpointing, stated", [
    (torch.float32, False, 10.4), (torch.bfloat16, False, 5.2), (torch.bfloat16, True, 0.43)])
def test_sdxl_at_1024_keeps_what_is_stated_of_it(dtype, checkpointing, stated):
    memory = predict(weightless(SDXL), (4, 128, 128), conditions(SDXL_COND), [config()],
                     dtype=dtype, checkpointing=checkpointing)
    assert memory.kept / GiB == pytest.approx(stated, rel=0.2)
