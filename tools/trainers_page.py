"""Write the tables of docs/translate.md from the tables that `labkit translate` works with.

    python tools/trainers_page.py

The text of the page is written by hand; the parts between comments are written here.
"""

import re
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from labkit.design.trainers.known import TRAINERS  # noqa: E402  the path above comes first
from labkit.design.trainers.words import WORDS  # noqa: E402

PAGE = REPO / "docs" / "translate.md"
OTHERS = [trainer for trainer in TRAINERS.values() if trainer.name != "labkit"]
SAID_ELSEWHERE = ("lr_scheduler", "lr_warmup_steps", "lr_end", "max_train_steps", "num_train_epochs")


def page() -> str:
    """Return the text of docs/translate.md with its tables written anew."""
    text = PAGE.read_text(encoding="utf-8")
    for name, part in {"trainers": trainers(), "fields": fields(), "schedules": schedules(), "words": words()}.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
                      lambda found, part=part: found[1] + part + found[2], text, flags=re.DOTALL)
    return text


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(name: str | None) -> str:
    """Return a name as code, nothing for none."""
    return f"`{name}`" if name else ""


def called(trainer, name: str) -> str:
    """Return what a trainer calls one of our fields, with the value that it takes where nothing is said."""
    rows = [row for row in trainer.rows if row.ours == name]
    for row in sorted(rows, key=lambda row: row.write is None):       # first the one that is written
        default = "" if row.default is None else f" ({_number(row.default)})"
        return code(row.theirs) + default
    for choice in trainer.choices:
        if choice.ours == name:
            return code(choice.theirs) + f" ({_number(choice.default)})"
    if name in trainer.fixed:
        return f"always {_number(trainer.fixed[name])}"
    return ""


def _number(value) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "the rank" if value == "=rank" else f"{value:g}" if isinstance(value, float) else str(value)


def trainers() -> str:
    """Return the table of trainers: name, what it is, form, and where its names were read."""
    return table(["`--from`, `--to`", "whose settings", "form", "read in"],
                 [[code(each.name), each.title, each.form.replace("command", "command line"), each.source]
                  for each in OTHERS])


def fields() -> str:
    """Return the table of a run's fields and what each trainer calls them."""
    ours = [row.ours for row in TRAINERS["labkit"].rows] + ["optimizer", "target_modules"]
    rows = [[code(name), *(called(each, name) for each in OTHERS)] for name in ours]
    rows = [row for row in rows if any(row[1:])]
    length = [["updates", *(code(each.length.steps) for each in OTHERS)],
              ["passes", *(code(each.length.epochs) for each in OTHERS)],
              ["warm-up", *(f"{code(each.warmup[0])}, {each.warmup[1]} ({each.warmup[2]:g})" for each in OTHERS)]]
    return table(["field", *(each.name for each in OTHERS)], rows + length)


def schedules() -> str:
    """Return the table of schedules: which curve each trainer's name stands for."""
    rows = []
    for each in OTHERS:
        for curve in each.curves:
            if each.name not in ("kohya_ss", "dreambooth-xl"):        # which have the names of another
                rows.append([each.name, code(curve.theirs), curve.curve.replace("_", " "),
                             "" if curve.warmup else "ignored", curve.note])
    return table(["trainer", "schedule", "curve", "warm-up", "what to notice"], rows)


def words() -> str:
    """Return the table of what the kit has not, with what it would change and who has it."""
    rows = []
    for name, word in WORDS.items():
        who = ", ".join(each.name for each in OTHERS if called(each, name))
        if who:
            rows.append([code(name), word.changes, who])
    return table(["setting", "what it changes", "who has it"], rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(REPO)} is written.")
