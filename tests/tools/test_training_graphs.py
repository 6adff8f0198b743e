"""An update, a prediction and a picture as ONNX: the numbers of the engine, by an evaluator that is none of ours."""

from dataclasses import replace

import onnx
import pytest
import tiny
import torch
from diffusers import AutoencoderKL
from onnx.reference import ReferenceEvaluator

from labkit.cli.tools import load
from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.engine.loss import per_sample_loss
from labkit.errors import LabError

ROWS, PROMPT = 2, "encoder_hidden_states"
graphs = load("training_graphs")


def halved():
    """Build a tiny base that goes down and up once, whose weights float16 holds, with an autoencoder."""
    base = tiny.base(block_out_channels=(16, 32), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                     up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
                            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)
    for module in (base.unet, vae.requires_grad_(False).eval()):
        for weight in module.parameters():
            weight.copy_(weight.half())
    return replace(base, vae=vae, resolution=16)


@pytest.fixture(scope="module")
def given():
    """Draw an adapter in the middle of its training, and a batch."""
    config = RunConfig(target_modules=("all",), rank=2, alpha=3.0).resolved(8)
    stack, source = LoRAStack(halved().unet, [config]).initialize(), torch.Generator().manual_seed(1)
    latents, noise = (torch.randn(ROWS, *tiny.LATENT, generator=source) for _ in range(2))
    return config, {"adapter": stack.theta[0] + 0.05 * torch.randn(stack.theta.shape[1], generator=source),
                    "latents": latents, "noise": noise, "timesteps": torch.tensor([7, 870]),
                    "text": torch.randn(ROWS, tiny.WORDS, tiny.WIDTH, generator=source)}


@pytest.fixture(scope="module")
def models(given, tmp_path_factory):
    """Return {name: evaluator} of what was written, weights beside it."""
    config, batch = given
    folder = tmp_path_factory.mktemp("graphs")
    for name, data in graphs.graphs(halved(), config, batch["text"], 1)._asdict().items():
        (folder / name).write_bytes(data)
    return {name: ReferenceEvaluator(onnx.load(folder / name)) for name in ("update", "prediction", "picture")}


def told(model, given):
    named = {name: value.numpy() for name, value in given.items() if name in model.input_names}
    return dict(zip(model.output_names, map(torch.as_tensor, model.run(None, named)), strict=True))


def test_loss_and_gradient_of_an_update_are_the_engines(models, given):
    config, batch = given
    base = halved()
    stack = LoRAStack(base.unet, [config])
    stack.theta.copy_(batch["adapter"])
    with stack.attached():
        loss = per_sample_loss(base.denoiser, batch["latents"], batch["noise"], batch["timesteps"],
                               {PROMPT: batch["text"]}).mean()
        loss.backward()
    expected, found = stack.take_grad()[0], told(models["update"], batch)
    torch.testing.assert_close(found["loss"], loss.detach(), rtol=1e-5, atol=0)
    assert (found["gradient"] - expected).norm() < 1e-5 * expected.norm()
    for columns, _ in stack.slots.values():                   # of every layer, not only of the large ones
        part = expected[columns]
        assert (found["gradient"][columns] - part).norm() <= 1e-4 * part.norm() + 1e-9


def test_a_prediction_is_the_engines(models, given):
    config, batch = given
    base = halved()
    stack = LoRAStack(base.unet, [config])
    stack.theta.copy_(batch["adapter"])
    with stack.attached(), torch.no_grad():
        expected = base.denoiser(batch["latents"], batch["timesteps"], {PROMPT: batch["text"]})
    torch.testing.assert_close(told(models["prediction"], batch)["prediction"], expected, rtol=1e-4, atol=1e-5)


def test_a_decoded_picture_is_the_bases(models):
    latents = torch.randn(1, *tiny.LATENT, generator=torch.Generator().manual_seed(2))
    pixels = told(models["picture"], {"latents": latents})["pixels"]
    expected = torch.from_numpy(halved().decode(latents)).float()
    assert expected.std() > 5 and (pixels - expected).abs().max() <= 1


def test_what_has_no_onnx_form_is_named(given):
    traced = torch.fx.experimental.proxy_tensor.make_fx(torch.cumsum)(torch.ones(3), 0)
    with pytest.raises(LabError, match=r"aten\.cumsum\.default has no ONNX form here"):
        load("onnx_graph").onnx_model(traced, ["x", "dim"], ["y"], load("onnx_graph").FrozenWeights("weights"))


def test_weights_that_float16_does_not_hold_are_refused():
    with pytest.raises(LabError, match="conv has numbers that float16 does not hold"):
        load("onnx_graph").FrozenWeights("weights").add([("conv", torch.tensor([0.1]))])
