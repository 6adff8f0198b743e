"""Read the text encoder of an old single file, whose keys lack `text_model.`, under the names of transformers."""

from pathlib import Path

from safetensors import safe_open

PREFIX = "cond_stage_model.transformer."
SINCE = PREFIX + "text_model."


def old_text_encoder(single_file: Path) -> dict | None:
    """Return the text encoder's tensors by the model's own names; None where diffusers reads the file's keys."""
    with safe_open(str(single_file), framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(PREFIX)]
        if not names or any(name.startswith(SINCE) for name in names):
            return None
        return {"text_model." + name.removeprefix(PREFIX): file.get_tensor(name) for name in names}
