"""Cases of files that hold tensors: adapters, bases, encoded pictures; and the configurations of a base."""

import json

import numpy as np
import torch
from mutations import bytes_damaged, json_damaged
from safetensors.numpy import save
from small_bases import write_folder

from labkit.design.config import RunConfig
from labkit.engine import cache
from labkit.engine.base import load_base
from labkit.engine.base_files import CLASSES, find_base
from labkit.files import tensor_files
from labkit.store import adapter_files


def safetensors_damaged(data, draw):
    """Damage the length, the header or the bytes of a .safetensors file."""
    length = int.from_bytes(data[:8], "little")
    kind = draw.choice(("length", "header", "header", "header", "bytes"))
    if kind == "length":
        stated = draw.choice((0, 1, length - 1, length + 1, len(data), 5 * 10**9, 2**63, 2**64 - 1))
        return stated.to_bytes(8, "little") + data[8:]
    if kind == "bytes":
        return bytes_damaged(data, draw)
    header = json_damaged(json.loads(data[8 : 8 + length]), draw)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def adapters(folder):
    arrays = {f"block.{i}.to_q.lora_{side}.weight": np.ones(shape, np.float32)
              for i in range(3) for side, shape in (("A", (4, 6)), ("B", (6, 4)))}
    whole = adapter_files.adapter_bytes(arrays, RunConfig(rank=4))
    values = RunConfig(rank=4).to_dict()
    words = {name: value for name, value in values.items() if name in adapter_files.FIELDS} | {"alpha": 4.0}

    def case(draw):
        if draw.random() < 0.5:
            data = safetensors_damaged(whole, draw)
        else:                                                 # sealed with its checksum, but by another program
            altered = json_damaged(words, draw).decode(errors="replace")
            data = tensor_files.sealed(arrays, {adapter_files.OWN_KEY: altered})
        (folder / "adapter.safetensors").write_bytes(data)
        return adapter_files.load_adapter(folder / "adapter.safetensors")

    return case


def base_weights(folder):
    configs = {file: {} for file in ("unet/config.json", "vae/config.json", "text_encoder/config.json",
                                     "scheduler/scheduler_config.json", "tokenizer/tokenizer.json")}
    configs["model_index.json"] = {part: ["", name] for part, name in CLASSES.items()}
    for file, values in configs.items():
        (folder / "base" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "base" / file).write_text(json.dumps(values))
    names = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x", "cond_stage_model.x",
             "model.diffusion_model.a.attn2.to_k.weight")
    whole = save({name: np.ones((4, 2), np.float32) for name in names})

    def case(draw):
        (folder / "base.safetensors").write_bytes(safetensors_damaged(whole, draw))
        return find_base(str(folder / "base.safetensors"))

    return case


def base_configs(folder):
    whole = write_folder(folder / "whole")
    files = ("model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
             "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json")

    def case(draw):
        file = draw.choice(files)
        before = (whole / file).read_bytes()
        try:
            (whole / file).write_bytes(json_damaged(json.loads(before), draw))
            base = load_base(str(whole), device="cpu")
            return base.generate(["a"], [0], num_inference_steps=2)
        finally:
            (whole / file).write_bytes(before)

    return case


def encoded(folder):
    tensors = {"mean": torch.ones(2, 4, 4, 4).half(), "std": torch.ones(2, 4, 4, 4).half()}
    cache._write(folder / "whole.safetensors", tensors, "key")
    whole = (folder / "whole.safetensors").read_bytes()

    def case(draw):
        (folder / "some.safetensors").write_bytes(safetensors_damaged(whole, draw))
        read = cache.read(folder / "some.safetensors", "key")
        is_same = read is None or all(torch.equal(read[name], tensors[name]) for name in tensors)
        assert is_same, "other numbers were read"

    return case
