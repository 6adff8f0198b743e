"""What SDXL is predicted to keep at 1024 pixels is what is known of it."""

import pytest
import torch
from test_memory import GiB, conditions, config, weightless

from labkit.memory import predict

SDXL = {"sample_size": 128, "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048, "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}
SDXL_COND = {"encoder_hidden_states": (77, 2048), "text_embeds": (1280,), "time_ids": (6,)}


@pytest.mark.parametrize("checkpointing, stated", [(False, 5.2), (True, 0.46)])
def test_sdxl_at_1024_keeps_what_was_measured_of_it(checkpointing, stated):
    memory = predict(weightless(SDXL), (4, 128, 128), conditions(SDXL_COND), [config()], dtype=torch.bfloat16, checkpointing=checkpointing)
    assert memory.kept / GiB == pytest.approx(stated, rel=0.2)
