"""Text encoders in single files of before 2023, whose keys lack `text_model.`: read under the names that transformers gives."""

from pathlib import Path

from safetensors import safe_open

PREFIX = "cond_stage_model.transformer."
SINCE = PREFIX + "text_model."


def old_text_encoder(single_file: Path) -> dict | None:
    """Return the text encoder's tensors by the model's own names; None where the file's keys are those that diffusers reads."""
    with safe_open(str(single_file), framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(PREFIX)]
        if not names or any(name.startswith(SINCE) for name in names):
            return None
        return {"text_model." + name.removeprefix(PREFIX): file.get_tensor(name) for name in names}
