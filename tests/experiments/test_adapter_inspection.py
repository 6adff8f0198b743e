"""What inspection says of an adapter: its family, its rank and what is odd, in words that name the layers."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from labkit.cli import inspect as verb
from labkit.design.config import RunConfig
from labkit.engine.base_files import find_base, unet_shapes
from labkit.errors import LabError
from labkit.experiments.adapter_inspection import inspect_adapter
from labkit.store.adapter_files import adapter_bytes
from labkit.store.adapter_forms import kohya_bytes

WIDTH = {"Stable Diffusion 1.x": 768, "Stable Diffusion 2.x": 1024, "SDXL": 2048}


def adapter(tmp_path, *, width=768, rank=8, used=8, scale=1.0, alpha=8.0, header=None, **more):
    """Write an adapter of a self-attention and a cross-attention layer whose change has rank `used`."""
    draw = torch.Generator().manual_seed(1)
    tensors = {}
    for name, inputs in (("attn1_to_q", 64), ("attn2_to_k", width)):
        orthogonal = torch.linalg.qr(torch.randn(inputs, rank, generator=draw))[0].T
        up = torch.linalg.qr(torch.randn(64, rank, generator=draw))[0]
        up[:, used:] = 0
        tensors |= {f"lora_unet_mid_block_{name}.lora_down.weight": orthogonal.contiguous(),
                    f"lora_unet_mid_block_{name}.lora_up.weight": (up * scale).contiguous()}
        if alpha is not None:
            tensors[f"lora_unet_mid_block_{name}.alpha"] = torch.tensor(alpha)
    path = tmp_path / "adapter.safetensors"
    save_file(tensors | more, path, metadata=header)
    return path


def told(findings):
    return {finding.name: f"{finding.found} -> {finding.remedy}" for finding in findings}


@pytest.mark.parametrize("name, width", WIDTH.items())
def test_the_family_of_the_base_is_known_by_the_width_of_the_text(tmp_path, name, width):
    assert f"made for {name}," in told(inspect_adapter(adapter(tmp_path, width=width)))["base"]


@pytest.mark.parametrize("form", [adapter_bytes, kohya_bytes])
def test_an_adapter_of_the_embedded_base_is_known_by_names_and_sizes_of_its_layers(tmp_path, form):
    module, path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q", tmp_path / "a.safetensors"
    out, width = unet_shapes(find_base("embedded"))[module]
    for inputs, fits in (width, True), (width + 8, False):
        tensors = {f"{module}.lora_A.weight": np.ones((4, inputs), np.float32),
                   f"{module}.lora_B.weight": np.ones((out, 4), np.float32)}
        path.write_bytes(form(tensors, RunConfig(rank=4)))
        assert ("made for this kit's embedded base" in told(inspect_adapter(path))["base"]) == fits


@pytest.mark.parametrize("used, says", [(8, "100% of the nominal -> "), (2, "25% of the nominal -> A smaller rank")])
def test_the_part_of_the_rank_that_is_used_is_measured(tmp_path, used, says):
    findings = told(inspect_adapter(adapter(tmp_path, used=used)))
    assert f"the effective rank of the change is {used}.0 (from {used}.0 to {used}.0)" in findings["rank used"]
    assert says in findings["rank used"]


def test_recorded_settings_and_their_trainer_are_told(tmp_path):
    header = {"ss_unet_lr": "0.0001", "ss_learning_rate": "0.0002", "ss_lr_scheduler": "cosine",
              "ss_sd_model_name": "v1-5\x1b[31m", "ss_network_dim": "8", "ss_min_snr_gamma": "None"}
    findings = told(inspect_adapter(adapter(tmp_path, header=header)))
    assert "written by kohya's sd-scripts" in findings["adapter"]
    assert "learning_rate 0.0001, lr_scheduler cosine, rank 8 " in findings["settings"] + " "
    assert "min_snr" not in findings["settings"] and r"v1-5\x1b[31m" in findings["base"]


def test_odd_things_are_named_with_a_remedy(tmp_path):
    findings = told(inspect_adapter(adapter(tmp_path, scale=0.0)))
    assert "every layer is zero" in findings["change"]
    findings = told(inspect_adapter(adapter(tmp_path, scale=float("inf"))))
    assert "2 (lora_unet_mid_block_attn1_to_q," in findings["numbers"] and "diverged" in findings["numbers"]
    findings = told(inspect_adapter(adapter(tmp_path, alpha=64.0)))
    assert "scaling 8 multiplies" in findings["scaling"]
    findings = told(inspect_adapter(adapter(tmp_path, alpha=None)))
    assert "loaders take scaling 1" in findings["alpha"] and "alpha not told" in findings["size"]
    findings = told(inspect_adapter(adapter(tmp_path, **{"lora_unet_x.lora_up.weight": torch.ones(4, 2)})))
    assert "one of their two matrices" in findings["halves"]
    findings = told(inspect_adapter(adapter(tmp_path, strange=torch.ones(3))))
    assert "1 (strange) belong to no kind" in findings["keys"]


def test_nothing_odd_is_said_of_a_sound_adapter(tmp_path):
    assert {finding.state for finding in inspect_adapter(adapter(tmp_path))} == {"good"}


def test_the_verb_tells_folders_adapters_and_runs_apart(tmp_path, capsys):
    assert verb.inspect(adapter(tmp_path))[0].name == "adapter"
    (tmp_path / "pictures").mkdir()
    assert [finding.state for finding in verb.inspect(tmp_path / "pictures")] == ["bad"]
    with pytest.raises(LabError, match="is not there"):
        verb.inspect(tmp_path / "nothing")
