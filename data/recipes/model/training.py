"""What every training recipe shares: device, pictures, random draws, checkpoints, log, budget."""

import copy
import hashlib
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recipes.world.draws import KINDS

BLOCK = len(KINDS["ordinary"])
# Makes the edges of these renders as steep as those of pictures that were rendered larger and scaled down, which is
# how the pictures of a folder come.
SHARP = 0.3
HELD_OUT = 20  # one block of neighbouring pictures, one of each kind, in twenty is never trained on


def choose_device():
    """'cuda', 'mps' or 'cpu', the first that is there."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def generator(seed, purpose, step, device="cpu"):
    """The generator that owns the draws of (seed, purpose, step) on a device."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


class Pictures:
    """An image folder with metadata.jsonl, held in memory; `refresh` adds what a renderer has finished since.

    pixels: uint8 (n, 3, size, size); captions: list of str; attributes: list of dict; held_out: bool (n,).
    """

    def __init__(self, folder):
        """Read what the folder holds now."""
        self.folder, self.known = Path(folder), set()
        self.pixels, self.captions, self.attributes = torch.empty(0, dtype=torch.uint8), [], []
        self.held_out = torch.empty(0, dtype=torch.bool)
        self.refresh()

    def refresh(self):
        """Read the pictures that the folder's metadata.jsonl lists and that are not held yet."""
        lines = (self.folder / "metadata.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        rows = [r for r in map(json.loads, lines) if r["file_name"] not in self.known]
        rows = sorted((r for r in rows if (self.folder / r["file_name"]).exists()), key=lambda r: r["file_name"])
        if not rows:
            return
        arrays = [np.asarray(Image.open(self.folder / r["file_name"]).convert("RGB")) for r in rows]
        fresh = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
        self.pixels = torch.cat([self.pixels, fresh]) if self.known else fresh
        self.known |= {r["file_name"] for r in rows}
        self.captions += [r["text"] for r in rows]
        self.attributes += [{k: v for k, v in r.items() if k not in ("file_name", "text")} for r in rows]
        held = [int("".join(filter(str.isdigit, r["file_name"]))) // BLOCK % HELD_OUT == HELD_OUT - 1 for r in rows]
        self.held_out = torch.cat([self.held_out, torch.tensor(held)])

    def __len__(self):
        """Return the number of pictures."""
        return len(self.captions)


def sharpened(x, amount=SHARP):
    """Pictures in -1..1, (n, 3, h, w), with more of what a 3x3 mean takes away; amount may be (n, 1, 1, 1)."""
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (x + amount * (x - blurred)).clamp(-1, 1)


class Average:
    """Exponential moving average of a module's weights, warmed up so that it forgets the start."""

    def __init__(self, module, decay=0.999):
        """Start from a copy of the module as it is."""
        self.module, self.decay, self.updates = copy.deepcopy(module).eval().requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, module):
        """Move the averages towards the module's weights of now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.module.parameters()), list(module.parameters()), 1 - decay)


class Budget:
    """How far a training has come: by steps (exactly repeatable) or by minutes of training."""

    def __init__(self, steps=None, minutes=None):
        """Take the whole budget, in steps or in minutes."""
        self.steps, self.minutes = steps, minutes
        self.begin()

    def begin(self, spent=0.0):
        """Start the clock, with the seconds that earlier sessions spent."""
        self.spent, self.since = spent, time.monotonic()

    def seconds(self):
        """Return the seconds spent so far, in earlier sessions too."""
        return self.spent + time.monotonic() - self.since

    def progress(self, step):
        """0 at the start, 1 when the budget is spent."""
        done = step / self.steps if self.steps else self.seconds() / 60 / self.minutes
        return min(1.0, done)


def warmup_cosine(step, progress, warmup=100, floor=0.01):
    """Factor on the peak learning rate: linear warm-up by steps, cosine decay by progress to `floor`."""
    return min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


class Checkpoint:
    """One safetensors file holding modules, averages, optimizer and a JSON state; the one before it is kept.

    Written aside, flushed and renamed, so a kill leaves the old or the new one; a broken file is noticed on reading.
    """

    def __init__(self, path):
        """Name the file; it need not be there yet."""
        self.path, self.previous = Path(path), Path(path).with_suffix(".previous.safetensors")

    def save(self, state, modules, optimizer=None):
        """Write a JSON state, modules by name (and an optimizer); the file of before becomes the previous one."""
        tensors = {f"{name}/{key}": t for name, m in modules.items() for key, t in m.state_dict().items()}
        for i, slots in optimizer.state_dict()["state"].items() if optimizer else ():
            tensors |= {f"optimizer/{i}/{slot}": torch.as_tensor(t) for slot, t in slots.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".aside")
        tensors = {k: t.detach().cpu().clone() for k, t in tensors.items()}
        save_file(tensors, aside, metadata={"state": json.dumps(state)})
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        if self.path.exists():
            os.replace(self.path, self.previous)
        os.replace(aside, self.path)

    def load(self, modules, optimizer=None):
        """Fill modules (and optimizer) from the newest whole checkpoint; -> its state, or None if there is none."""
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                with safe_open(path, framework="pt") as file:
                    state = json.loads(file.metadata()["state"])
                    tensors = {key: file.get_tensor(key) for key in file.keys()}
            except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
                print(f"{path} is broken ({error}): trying the checkpoint before it", flush=True)
                continue
            for name, module in modules.items():
                module.load_state_dict({k.split("/", 1)[1]: t for k, t in tensors.items() if k.startswith(name + "/")})
            if optimizer is None:
                return state
            slots = {}
            for key, tensor in tensors.items():
                if key.startswith("optimizer/"):
                    _, i, slot = key.split("/")
                    slots.setdefault(int(i), {})[slot] = tensor
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
            return state
        return None


def keep_log(path, step):
    """Take out of a log what lies beyond a checkpoint: all of an earlier training, or updates that were lost."""
    path = Path(path)
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines() if step else []
        whole = [line for line in lines if line.endswith("}")]                     # a kill may have cut the last one
        path.write_text("".join(f"{line}\n" for line in whole if json.loads(line)["step"] <= step), encoding="utf-8")


def log(path, **numbers):
    """Append one line of numbers to a JSONL file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in numbers.items()}
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)
