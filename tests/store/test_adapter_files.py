import json

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

from labkit.design.config import RunConfig
from labkit.design.target_modules import ALL
from labkit.errors import LabError
from labkit.store.adapter_files import METADATA_KEY, load_adapter, save_adapter

TENSORS = {
    "mid.to_q.lora_A.weight": np.random.default_rng(0).normal(size=(4, 8)),
    "mid.to_q.lora_B.weight": np.ones((6, 4)),
}


@pytest.mark.parametrize("changes", [
    {}, {"alpha": 1}, {"alpha": 32, "use_rslora": True}, {"target_modules": "to_q", "init_lora_weights": "gaussian"},
])
def test_an_adapter_comes_back_with_everything_that_shapes_it(tmp_path, changes):
    config = RunConfig(rank=4, **changes)
    save_adapter(tmp_path / "a.safetensors", TENSORS, config)
    tensors, fields = load_adapter(tmp_path / "a.safetensors")
    assert tensors.keys() == TENSORS.keys() and all(array.dtype == np.float32 for array in tensors.values())
    name = "mid.to_q.lora_A.weight"
    np.testing.assert_array_equal(tensors[name], TENSORS[name].astype(np.float32))
    again = RunConfig.from_dict(fields)
    expected = {"alpha": 4, "target_modules": "all"} | changes
    assert again.scaling == config.scaling and again == RunConfig(rank=4, **expected)


def header(path):
    with safetensors.safe_open(str(path), framework="np") as file:
        return file.metadata()


def test_the_header_makes_the_lora_config_of_peft(tmp_path):
    from peft import LoraConfig

    config = RunConfig(rank=4, alpha=2, use_rslora=True)
    save_adapter(tmp_path / "a.safetensors", TENSORS, config)
    settings = json.loads(header(tmp_path / "a.safetensors")[METADATA_KEY])
    peft = LoraConfig(**{name.removeprefix("unet."): value for name, value in settings.items()})
    assert (peft.r, peft.lora_alpha, peft.use_rslora) == (4, 2, True)
    assert set(peft.target_modules) == {"to_q"}


def test_the_header_names_layers_where_a_set_was_trained(tmp_path):
    config = RunConfig(rank=4, target_modules=("all", "conv_in"))
    tensors = TENSORS | {"mid.conv1.lora_A.weight": np.ones((4, 8, 3, 3)),
                         "conv_in.lora_B.weight": np.ones((6, 4, 1, 1))}
    save_adapter(tmp_path / "a.safetensors", tensors, config)
    written = header(tmp_path / "a.safetensors")
    peft = json.loads(written[METADATA_KEY])["unet.target_modules"]
    assert peft == ["to_q", "conv1", "conv_in"]            # those that there are
    assert json.loads(written["labkit"])["target_modules"] == [*ALL, "conv_in"]
    assert load_adapter(tmp_path / "a.safetensors")[1]["target_modules"] == ["all", "conv_in"]


def test_a_file_tells_nothing_about_the_machine_it_was_made_on(tmp_path):
    save_adapter(tmp_path / "a.safetensors", TENSORS, RunConfig(rank=4, data="/home/someone/pictures"))
    assert "someone" not in json.dumps(header(tmp_path / "a.safetensors"))


def test_a_dense_adapter_is_not_passed_off_as_a_lora(tmp_path):
    save_adapter(tmp_path / "a.safetensors", {"mid.to_q.weight": np.ones((6, 8))}, RunConfig(adapter="full"))
    assert METADATA_KEY not in header(tmp_path / "a.safetensors")
    assert load_adapter(tmp_path / "a.safetensors")[1]["adapter"] == "full"


def test_files_that_are_no_adapters_of_ours_are_named(tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    save_file({"lora_unet_mid.lora_down.weight": np.ones((4, 8), np.float32)}, tmp_path / "foreign.safetensors")
    messages = {"torn": "not a readable adapter", "missing": "not a readable adapter",
                "foreign": "alpha cannot be trusted"}
    for name, message in messages.items():
        with pytest.raises(LabError, match=f"{name}.safetensors.*{message}"):
            load_adapter(tmp_path / f"{name}.safetensors")


LARGE = {"adapter": "lora", "rank": "9" * 400, "alpha": 4, "use_rslora": False, "init_lora_weights": "default",
         "target_modules": ["to_q"]}


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"rank": 4}', json.dumps(LARGE)])
def test_a_file_whose_settings_are_none_is_named(tmp_path, text):
    tensors = {"unet.x.lora_A.weight": np.ones((4, 8), np.float32)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"labkit": text})
    with pytest.raises(LabError, match="a.safetensors tells labkit nothing it can use"):
        load_adapter(tmp_path / "a.safetensors")


def test_saving_replaces_a_file_whole(tmp_path):
    for value in (1.0, 2.0):
        save_adapter(tmp_path / "a.safetensors", {"x.lora_A.weight": np.full((2, 2), value)}, RunConfig(rank=2))
    assert load_adapter(tmp_path / "a.safetensors")[0]["x.lora_A.weight"][0, 0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
