"""Precision follows from the device unless somebody says otherwise, is said, and is refused where it gains nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from labkit.design.config import RunConfig
from labkit.engine import dtypes
from labkit.engine.dtypes import check_mixed_precision, chosen_dtype, has_amx, keep_float32, sentence
from labkit.engine.monitor import Monitor
from labkit.engine.train import train
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.store.events import Step

CPU, MPS, CUDA = (torch.device(name) for name in ("cpu", "mps", "cuda"))


@pytest.fixture
def card(monkeypatch):
    """Give a function that puts a CUDA card of some compute capability into the machine."""
    def put(major, minor, name="Tesla T4"):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, minor))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)
    return put


def test_the_device_chooses_and_everybody_can_choose_otherwise(card, monkeypatch):
    monkeypatch.delenv("LABKIT_DTYPE", raising=False)
    assert chosen_dtype(None, CPU) == chosen_dtype(None, MPS) == torch.float32
    card(7, 5)
    assert chosen_dtype(None, CUDA) == torch.float16
    card(8, 0, "A100")
    assert chosen_dtype(None, CUDA) == torch.bfloat16
    monkeypatch.setenv("LABKIT_DTYPE", "float32")
    assert chosen_dtype(None, CUDA) == torch.float32 and chosen_dtype("bf16", CUDA) == torch.bfloat16
    monkeypatch.setenv("LABKIT_DTYPE", "int8")
    with pytest.raises(LabError, match="LABKIT_DTYPE: 'int8' is not one of float32, bfloat16, float16"):
        chosen_dtype(None, CPU)


def test_what_is_computed_in_is_said(card):
    card(7, 5)
    said = sentence(CUDA, torch.float16)
    assert said.startswith("The U-Net computes in float16, each run's loss scaled on Tesla T4")
    assert "float32 on cpu" in sentence(CPU, torch.float32) and "TF32 is off" in sentence(CPU, torch.float32)


def test_tf32_is_set_and_not_left_to_torch(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    keep_float32()
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


def test_the_flag_of_amx_is_read_from_the_system(tmp_path):
    for text, there in (("flags\t\t: sse amx_tile amx_bf16 avx", True), ("flags\t\t: sse avx512_bf16", False)):
        (tmp_path / "cpuinfo").write_text(text)
        assert has_amx(tmp_path / "cpuinfo") == there
    assert not has_amx(tmp_path / "nowhere")


def test_a_precision_that_gains_nothing_is_refused_before_a_model_loads(card, monkeypatch, tmp_path):
    monkeypatch.setattr("labkit.lab.load_base", lambda *_, **__: pytest.fail("a model was loaded"))
    lab = Lab(store=tmp_path, device="cpu")
    monkeypatch.setattr(dtypes, "has_amx", lambda: False)
    refusal = "mixed_precision = 'bf16' is not possible on this CPU: without AMX .* leave mixed_precision out"
    with pytest.raises(LabError, match=refusal):
        lab.config(mixed_precision="bf16")
    with pytest.raises(LabError, match="mixed_precision = 'fp16' is not possible on a CPU"):
        lab.config(mixed_precision="fp16")
    card(7, 5)
    refusal = "mixed_precision = 'bf16' is not possible on Tesla T4, which has no bfloat16: give fp16"
    with pytest.raises(LabError, match=refusal):
        check_mixed_precision("bf16", CUDA)
    check_mixed_precision("fp16", CUDA), check_mixed_precision("no", CPU)
    monkeypatch.setattr(dtypes, "has_amx", lambda: True)
    assert lab.config(mixed_precision="bf16").mixed_precision == "bf16"


def test_a_lab_opens_in_what_its_design_or_its_caller_asks_for(monkeypatch, tmp_path, capsys):
    asked = []

    def load_base(name, *, device, dtype, revision):
        asked.append(dtype)
        given = torch.bfloat16 if dtype == "bf16" else torch.float32
        return SimpleNamespace(device=CPU, dtype=given, computes="said once")

    monkeypatch.setattr("labkit.lab.load_base", load_base)
    half = RunConfig(mixed_precision="bf16")
    for config, options in ((RunConfig(), {}), (half, {}), (half, {"dtype": "float32"})):
        _ = Lab.from_config(config, store=tmp_path, **options).base     # a lab loads its base when asked for it
    assert asked == [None, "bf16", "float32"]
    assert capsys.readouterr().out == "said once\n"           # plain float32 on a CPU goes without saying


def test_bf16_on_a_cpu_attends_in_float32_and_stays_within_a_hundredth_of_float32(monkeypatch):
    base, cache = tiny.base(), tiny.cache()
    def losses(config):
        events = train(base, cache, [config], monitor=Monitor(images=0))
        return [event.loss for event in events if isinstance(event, Step)]

    def watched(q, *rest, **options):
        attended.add(q.dtype)
        return attend(q, *rest, **options)

    config = RunConfig(learning_rate=3e-3, max_train_steps=20).resolved(12)
    attended, attend = set(), torch.nn.functional.scaled_dot_product_attention
    exact = losses(config)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    half = losses(config.replace(mixed_precision="bf16"))
    assert attended == {torch.float32} and half != exact
    np.testing.assert_allclose(half, exact, rtol=0.01)
    assert base.unet.dtype == torch.float32


def test_attention_in_float32_equals_that_of_diffusers():
    from labkit.engine.casting import AttendInFloat32

    unet, x, words = tiny.unet(), torch.randn(2, *tiny.LATENT), torch.randn(2, tiny.WORDS, tiny.WIDTH)
    theirs = unet(x, torch.tensor([5, 900]), words).sample
    unet.set_attn_processor(AttendInFloat32())
    torch.testing.assert_close(unet(x, torch.tensor([5, 900]), words).sample, theirs, rtol=1e-5, atol=1e-5)
