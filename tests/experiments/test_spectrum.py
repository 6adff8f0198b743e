"""The spectrum of an update, against the product formed in full and against PEFT."""

import numpy as np
import pytest
import reference_loop
import tiny
import torch
from figures import assert_words_keep_apart

from labkit.design.config import RunConfig
from labkit.engine.adapters import LoRAStack
from labkit.errors import LabError
from labkit.experiments.spectrum import (
    Spectrum,
    plot_effective_rank,
    plot_spectrum,
    relative_norm,
    spectra,
)

EVERYWHERE = ("to_q", "to_out.0", "conv1", "proj_in")


def filled(config):
    """Return a tiny U-Net and a run's arrays whose B is not zero."""
    unet, rng = tiny.unet(), np.random.default_rng(0)
    arrays = LoRAStack(unet, [config]).initialize().tensors(0)
    return unet, {name: array + rng.normal(size=array.shape).astype(np.float32) for name, array in arrays.items()}


@pytest.mark.parametrize("changes", [{"rank": 3}, {"rank": 4, "alpha": 2.0, "use_rslora": True}, {"rank": 64}])
def test_singular_values_equal_those_of_pefts_own_change_of_the_weight(changes):
    config = RunConfig(target_modules=EVERYWHERE, **changes)
    unet, arrays = filled(config)
    found = spectra(arrays, config, unet)
    reference_loop.add_adapter(unet, config, arrays)
    assert len(found) == len(arrays) / 2
    for layer in found:
        module = unet.get_submodule(layer.name)
        change = module.get_delta_weight("default").detach().flatten(1)
        expected = torch.linalg.svdvals(change).numpy()[: len(layer.values)]
        np.testing.assert_allclose(layer.values, expected, atol=1e-4 * expected[0])
        assert layer.norm == pytest.approx(float(change.norm()), rel=1e-4)
        assert layer.relative_norm == pytest.approx(float(change.norm() / module.base_layer.weight.norm()), rel=1e-4)
    assert len(found[0].values) == min(config.rank, 32)


def test_a_dense_change_is_read_like_a_product():
    config = RunConfig(adapter="full", target_modules=("to_q",))
    unet, arrays = filled(config)
    for layer in spectra(arrays, config, unet):
        expected = np.linalg.svd(arrays[f"{layer.name}.delta.weight"], compute_uv=False)
        np.testing.assert_allclose(layer.values, expected, rtol=1e-4)


@pytest.mark.parametrize("values, effective, stable", [
    ([2, 2, 2, 2], 4, 4), ([5, 0, 0], 1, 1), ([2, 1], 3 / 2 ** (2 / 3), 1.25), ([0, 0], 0, 0),
])
def test_effective_and_stable_rank_are_those_of_the_papers(values, effective, stable):
    layer = Spectrum("layer", np.array(values, dtype=float), 10.0)
    assert layer.effective_rank == pytest.approx(effective) and layer.stable_rank == pytest.approx(stable)


def test_a_fresh_adapter_changes_nothing_and_the_relative_norm_grows_with_alpha():
    config = RunConfig(rank=4)
    unet, arrays = filled(config)
    fresh = LoRAStack(unet, [config]).initialize().tensors(0)
    assert relative_norm(spectra(fresh, config, unet)) == 0
    sizes = [relative_norm(spectra(arrays, config.replace(alpha=alpha), unet)) for alpha in (2.0, 4.0)]
    assert sizes[1] == pytest.approx(2 * sizes[0]) and sizes[0] > 0


def test_arrays_that_belong_elsewhere_are_refused():
    config = RunConfig(rank=4)
    unet, arrays = filled(config)
    with pytest.raises(LabError, match="checkpoint"):
        spectra({"weight": np.zeros(3)}, config, unet)
    with pytest.raises(LabError, match="both lora_A and lora_B"):
        spectra({next(iter(arrays)): next(iter(arrays.values()))}, config, unet)
    with pytest.raises(LabError, match="no layer elsewhere"):
        spectra({name.replace("mid_block", "elsewhere"): arrays[name] for name in arrays if "mid_block" in name},
                config, unet)


@pytest.mark.parametrize("trained", [0, 1])
@pytest.mark.parametrize("plot", [plot_spectrum, plot_effective_rank])
def test_the_words_of_a_figure_keep_apart_even_of_adapters_that_learned_nothing(plot, trained):
    runs = {rank: [Spectrum("layer", trained * size * np.exp(-0.3 * np.arange(rank)), 10.0) for size in (0.5, 1, 2)]
            for rank in (1, 2, 4, 8, 16, 32, 64)}
    figure = plot(runs).figure
    assert_words_keep_apart(figure)
    assert figure.axes[0].get_xlabel() and figure.axes[0].get_ylabel()
    assert "64: " in figure.summary.replace("rank ", "")
