"""Weights are rounded as torch rounds them, and what does not fit is refused with its remedy."""

import numpy as np
import pytest
import torch

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.store.adapter_files import adapter_bytes
from labkit.store.adapter_forms import kohya_bytes
from labkit.store.rounding import rounded, rounding_error

ODD = np.array([0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, -65504.0, 65519.0, 6e-8, 1e-9, np.inf, -np.inf,
                np.nan], np.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_round_as_torch_rounds_them(dtype):
    array = np.concatenate([ODD, np.random.default_rng(0).normal(size=5000).astype(np.float32)])
    ours = rounded({"a": array}, dtype)["a"].astype(np.float32)
    theirs = torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(ours, theirs)
    assert 0 < rounding_error({"a": array[len(ODD):]}, dtype) < 2**(-11 if dtype == "float16" else -8)


def test_float32_stays_bit_for_bit():
    assert rounded({"a": ODD}, "float32")["a"].tobytes() == ODD.tobytes()


@pytest.mark.parametrize("write", [adapter_bytes, kohya_bytes])
def test_a_weight_that_float16_cannot_hold_is_named_with_the_remedy(write):
    tensors = {"mid.to_q.lora_A.weight": np.ones((4, 8)), "mid.to_q.lora_B.weight": np.full((6, 4), -7e4)}
    with pytest.raises(LabError, match=r"cannot hold the weight mid\.to_q\.lora_B\.weight, which reaches 7e\+04: "
                                       "give --dtype bfloat16"):
        write(tensors, RunConfig(rank=4), dtype="float16")
    assert b'"BF16"' in write(tensors, RunConfig(rank=4), dtype="bfloat16")


def test_a_matrix_that_vanishes_in_float16_is_all_lost():
    assert rounding_error({"a": np.full((2, 2), 1e-9), "b": np.zeros((2, 2))}, "float16") == 1
