"""The tables of data/README.md, written from log/measured.json and the trainings' logs."""

import json
import re
from collections import Counter
from pathlib import Path

from labkit.experiments import loss_and_pictures
from labkit.text import rate_text
from recipes.ship.bars_table import bars
from recipes.ship.markdown import percent, table

LOGS = Path(__file__).parent / "log"
STYLE_LOG = LOGS / "style.json"            # what style_race.py measured
README = Path(__file__).parents[2] / "README.md"
STUDY = README.parent / "studies" / loss_and_pictures.FILE     # what loss_pictures.py measured
# training: (the figure that its log follows, its name in the table)
WATCHED = {"autoencoder": ("dB_ordinary", "dB, held-out ordinary"), "polish": ("dB_ordinary", "dB, held-out ordinary"),
           "denoiser": ("held_out", "fixed-noise loss, held out"), "reader": ("kind", "share of kinds read right")}


def training():
    """Steps, minutes and the course of every training."""
    rows = []
    for name, (figure, words) in WATCHED.items():
        if (LOGS / f"{name}.jsonl").exists():
            lines = [json.loads(line) for line in (LOGS / f"{name}.jsonl").read_text().splitlines()]
            course = [lines[round(i * (len(lines) - 1) / 5)][figure] for i in range(6)]
            rows.append([name, lines[-1]["step"], f"{lines[-1]['seconds'] / 60:.0f}", words,
                         " ".join(f"{x:.3g}" for x in course)])
    return table(["training", "steps", "minutes", "figure", "its course, at six even times"], rows)


def quality():
    """What recipes.ship.quality measured of the base that ships and of its further training, by pictures seen."""
    path, columns = LOGS / "quality.jsonl", ("kind", "wall_color", "main_color", "second_color")
    if not path.exists():
        return "Not measured yet.\n"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return table(["pictures seen since", "fixed-noise loss, held out", "kind", "wall colour", "main colour",
                  "second colour", "Fréchet distance", "of renders from others"],
                 [[f"{line['pictures']:,}", f"{line['held_out']:.4f}", *(percent(line[name]) for name in columns),
                   f"{line['distance']:.2f} ± {line['spread']:.2f}", f"{line['floor']:.2f}"] for line in lines])


def confusion(counts):
    """Kinds asked for in rows, answers in columns; an empty cell is 0."""
    said = {answer for row in counts.values() for answer in row}
    answers = sorted(said | set(counts), key=lambda k: (k not in counts, k))
    rows = [[kind, *(row.get(answer, "") for answer in answers)] for kind, row in sorted(counts.items())]
    return table(["", *answers], rows)


def style():
    """How many pictures are accepted as storybook drawings: of real ones, and of those drawn after each run."""
    measured = json.loads(STYLE_LOG.read_text())
    steps = [*measured["untouched"]]
    runs = [[f"near captions, drawn after 150 updates at {rate_text(run['learning_rate'])}",
             *map(percent, run["accepted"].values()), f"{run['loss']:.3f}", run["verdict"]]
            for run in measured["rates"]]
    rows = [[where, percent(share), "", "", ""] for where, share in measured["pictures"].items()]
    untouched = ["near captions, drawn by the untouched base", *map(percent, measured["untouched"].values()), "", ""]
    head = ["pictures", f"accepted as storybook (drawings: {steps[0]} inference steps)",
            *(f"{more} inference steps" for more in steps[1:]), "held-out loss", "verdict"]
    return table(head, [*rows, untouched, *runs])


def loss_pictures():
    """What loss and pictures say of each other, over many short runs."""
    if not STUDY.exists():
        return "Not measured yet.\n"
    found = loss_and_pictures.study(STUDY)
    chosen, pairs = loss_and_pictures.agreement(found), loss_and_pictures.correlations(found)
    counts = Counter(settings["data"] for settings in found.settings)
    runs = "Runs measured: " + ", ".join(f"{count} on {name}" for name, count in counts.items()) + ".\n"
    return "\n".join([runs, table(chosen.heads, chosen.rows), chosen.note + "\n", table(pairs.heads, pairs.rows)])


def parts(m):
    """Text of every part of data/README.md that holds measured numbers."""
    columns = ("kind", "wall_color", "main_color", "second_color", "accepted")
    readings = m["reader"] | {"ordinary generated, after the thorough run": m["after"]["ordinary"]}
    after, pairs = m["after"], m["pairs"]
    neighbours = [[kind, f"{near['nearest']:.2f}", f"{near['least']:.2f}"]
                  for world in m["neighbours"].values() for kind, near in world.items()]
    course = " ".join(f"{loss:.3f}" for loss in after["losses"]["validation"])
    kept = after["ordinary"]["kind"][0] / m["reader"]["ordinary generated"]["kind"][0]
    return {
        "training": training(),
        "quality": quality(),
        "sizes": table(["part", "MB"], [[name, f"{size / 1e6:.1f}"] for name, size in m["bytes"].items()]),
        "reconstruction": table(
            ["held-out pictures", "autoencoder, dB PSNR", "fixed-noise loss of the untouched base"],
            [[w, f"{m['decibels'][w]:.1f}", f"{m['loss'][w]:.3f}"] for w in m["decibels"]]),
        "reader": table(["pictures", "kind", "wall colour", "main colour", "second colour", "accepted"],
                        [[where, *(percent(right[name]) for name in columns)] for where, right in readings.items()]),
        "style": style(),
        "loss_pictures": loss_pictures(),
        "bars": bars(),
        "confusion": "\n".join(confusion(counts) for counts in m["confusion"].values()),
        "neighbours": table(["kind", "nearest, median", "nearest, least"], neighbours),
        "pairs": "Pairs of pictures were labelled as alike or unlike. Of one pair of each sort the alike one is "
                 f"nearer in {100 * pairs['order']:.0f} % of all such choices: distances go from "
                 f"{pairs['alike'][0]:.2f} to {pairs['alike'][1]:.2f} for alike pairs, from "
                 f"{pairs['unlike'][0]:.2f} to {pairs['unlike'][1]:.2f} for unlike ones.\n",
        "after": f"Of pictures drawn from liminal captions {percent(m['liminal accepted'])} are accepted on the "
                 f"untouched base and {percent(after['accepted'])} after the run of `thorough.yaml` ({after['steps']} "
                 f"updates at {after['learning_rate']:g}), drawn with guidance 2; with guidance 3, which suits short "
                 f"runs and the base itself, {percent(after['accepted at 3'])}. The fixed-noise loss on held-out "
                 f"liminal pictures takes this course, at even times: {course}. Ordinary captions then keep "
                 f"{100 * kept:.0f} % of their former score. By thumbnails {after['copies']}\n",
    }


def filled(text, m):
    """A README with every part between `<!-- name -->` and `<!-- /name -->` written anew."""
    for name, part in parts(m).items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
                      lambda match, part=part: match[1] + part + match[2], text, flags=re.DOTALL)
    return text


def write_tables(measured):
    """Write every measured part of data/README.md anew."""
    README.write_text(filled(README.read_text(encoding="utf-8"), measured), encoding="utf-8")
