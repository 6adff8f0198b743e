"""What was measured of the lessons' runs and the panel's designs, beside the bars that they are held to."""

import json
from pathlib import Path

from labkit.design.presets import PRESETS
from recipes.ship.lesson_runs import LESSONS
from recipes.ship.markdown import percent, table

BARS_LOG = Path(__file__).parent / "log" / "bars.jsonl"       # what bars.py measured, a line a run
PROMPTS, SEEDS = 64, range(10)
PRESETS_PART = "presets"
NOT_MEASURED = "not measured yet"

AT_LEAST_ONE, AT_LEAST_SEVERAL = 0.8, 0.6                     # accepted after a healthy run of one kind, of several
AT_MOST = {"untouched": 0.1, "stagnating": 0.2, "overshooting": 0.3, "diverged": 0.3}
KEPT = 0.5                                                    # of the score that ordinary prompts had before
SEEDS_OF_TEN = 9


def held_to(value, bar, at_least):
    """A bar in words, and whether a share keeps it: the share itself, not its interval."""
    keeps = value >= bar if at_least else value <= bar
    return f"{'at least' if at_least else 'at most'} {100 * bar:.0f} %: {'met' if keeps else 'not met'}"


def lesson_rows(part, lines):
    """Rows of one lesson: its untouched base, then its runs, of which only the best healthy one has a least score."""
    if not lines:
        return [[part, NOT_MEASURED, "", "", "", "", ""]]
    untouched = lines[0]["accepted"]["territory"]["untouched"]
    rows = [[part, "untouched", "", percent(untouched), held_to(untouched[0], AT_MOST["untouched"], False), "", ""]]
    for line in lines:
        after, verdict = line["accepted"]["territory"]["after"], line["verdict"]
        ordinary, bar, kept = line["accepted"].get("ordinary"), "", ["", ""]
        if line["is_best"]:
            bar = held_to(after[0], AT_LEAST_ONE if line["asked"] == 1 else AT_LEAST_SEVERAL, True)
        elif verdict in AT_MOST:
            bar = held_to(after[0], AT_MOST[verdict], False)
        if ordinary:
            before, now = ordinary["untouched"], ordinary["after"]
            kept = [f"{percent(now)} of {100 * before[0]:.0f} %", held_to(now[0] / before[0], KEPT, True)]
        rows.append([part, line["design"], verdict, percent(after), bar, *kept])
    if not any(line["is_best"] for line in lines):
        rows.append([part, "no run is healthy", "", "", "not met", "", ""])
    return rows


def preset_rows(lines):
    """Rows of the panel's designs: with how many seeds the verdict is the one that a design is called after."""
    rows = []
    for name in PRESETS:
        labels = [line["verdict"] for line in lines if line["preset"] == name]
        right, others = labels.count(name), sorted({label for label in labels if label != name})
        told = f"{right} of {len(labels)}" + "".join(f", {labels.count(other)} {other}" for other in others)
        bar = f"at least {SEEDS_OF_TEN} of {len(SEEDS)}: "
        bar += NOT_MEASURED if len(labels) < len(SEEDS) else "met" if right >= SEEDS_OF_TEN else "not met"
        rows.append([name, told if labels else "", bar])
    return rows


def bars(log=BARS_LOG):
    """Both tables: the runs of the lessons, and the designs of the panel."""
    lines = read_lines(log)
    runs = [row for part in LESSONS for row in lesson_rows(part, [line for line in lines if line["of"] == part])]
    head = ["lesson", "run", "verdict", f"accepted of {PROMPTS} prompts", "bar", f"of {PROMPTS} ordinary ones",
            "bar, of what they were before"]
    designs = preset_rows([line for line in lines if line["of"] == PRESETS_PART])
    return "\n".join([table(head, runs), table(["design of the panel", "seeds with its verdict", "bar"], designs)])


def read_lines(log=BARS_LOG):
    """Read all that was measured, a dict a run."""
    return [json.loads(text) for text in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def write_lines(part, found, log=BARS_LOG):
    """Put the lines of a part in the place of its old ones, and drop those of another base."""
    others = [line for line in read_lines(log) if line["of"] != part and line["base"] == found[0]["base"]]
    lines = sorted([*others, *found], key=lambda line: line["of"])
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
