"""The field's terms beside the chapter's, by the names the code uses."""

import functools
from typing import Any

from labkit.errors import LabError
from labkit.settings import data_dir

VOICES = ("both", "field", "chapter")


@functools.cache
def glossary() -> dict[str, dict[str, Any]]:
    """Return all entries: name -> {field, chapter (None where the chapter has no word), meaning}."""
    import yaml  # deferred: what only plans a run reads no YAML

    return yaml.safe_load((data_dir() / "glossary.yaml").read_text(encoding="utf-8"))


def term(name: str, voice: str = "both") -> str:
    """Return what `name` is called: 'learning rate (intensity of initiation)', or one of the two terms alone.

    Where the chapter has no word of its own, every voice gives the field's.
    """
    if voice not in VOICES:
        raise LabError(f"voice is {voice!r}: choose one of {', '.join(VOICES)}.")
    if name not in glossary():
        known = ", ".join(sorted(glossary()))
        raise LabError(f"{name!r} is not in data/glossary.yaml: add it there, or use one of {known}.")
    field, chapter = glossary()[name]["field"], glossary()[name]["chapter"]
    if voice == "field" or not chapter:
        return field
    return chapter if voice == "chapter" else f"{field} ({chapter})"


def glossary_table() -> str:
    """Return the whole glossary as a Markdown table."""
    rows = [f"| {entry['chapter'] or ''} | {entry['field']} | {entry['meaning']} |" for entry in glossary().values()]
    return "\n".join(["| the chapter says | the field says | meaning |", "|---|---|---|", *rows])
