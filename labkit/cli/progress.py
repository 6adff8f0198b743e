"""How far somebody has come: what each lesson's runs say, from their records alone."""

import math

from labkit.cli.report_page import best_of, heading
from labkit.judge import listing
from labkit.judge.diagnose import DIVERGED, OVERSHOOTING
from labkit.lessons import notebooks
from labkit.store import about
from labkit.text import counted, loss_text, rate_text

OTHER = ""  # stands for runs of no lesson


def by_lesson(store):
    """Return {lesson: entries of its runs, as `judge.listing` makes them}, in the lessons' order, other runs last."""
    names = [path.stem for path in notebooks.lessons()]
    groups = {name: [] for name in (*names, OTHER)}
    for entry in listing.entries(store):
        meta = about.read(store.root / entry["id"] / "config.json")["sessions"][0]["meta"]
        lesson = meta.get("lesson")
        groups[lesson if lesson in names else OTHER].append(entry)
    return {lesson: entries for lesson, entries in groups.items() if entries}


def line(lesson, entries):
    """Return one line on the runs of a lesson: how many, at how many rates, the best of them, how many broke."""
    about_runs = summary(entries)
    made = f"{counted(about_runs['runs'], 'run')}, {counted(about_runs['updates'], 'update')}"
    rates = f" at {counted(about_runs['rates'], 'learning rate')}"
    best = ""
    if about_runs["best_rate"] is not None:
        best = (f"; best {rate_text(about_runs['best_rate'])}, {about_runs['best_verdict']}, held-out loss "
                f"{loss_text(about_runs['loss_before'])} → {loss_text(about_runs['loss_after'])}")
    broke = f"; {about_runs['broke']} broke" if about_runs["broke"] else ""
    return f"{heading(lesson) if lesson else 'Other runs'}: {made}{rates}{best}{broke}"


def summary(entries):
    """Return the numbers of a lesson's runs: plain values, None where there are none."""
    best = best_of([entry for entry in entries if math.isfinite(entry["evidence"].get("loss_at_end", math.nan))])
    found = best["evidence"] if best else {}
    score = (best["score"].get("validation") if best else None) or {}
    return {
        "runs": len(entries), "updates": sum(entry["evidence"].get("updates", 0) for entry in entries),
        "rates": len({entry["config"]["learning_rate"] for entry in entries}),
        "best_run": best["id"] if best else None, "best_rate": best["config"]["learning_rate"] if best else None,
        "best_verdict": best["label"] if best else None, "loss_before": found.get("loss_at_start"),
        "loss_after": found.get("loss_at_end"), "accepted": score.get("after"), "prompts": score.get("prompts"),
        "broke": sum(entry["label"] in (DIVERGED, OVERSHOOTING) for entry in entries),
    }
