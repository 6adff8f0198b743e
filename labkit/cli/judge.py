"""Judge adapter files of any trainer on a base and pictures: which to keep, at what strength, and how sure that is."""

import math

from labkit.cli.checkup import reading
from labkit.cli.parser import Outcome
from labkit.cli.progress_line import ProgressLine
from labkit.cli.runs import prepare
from labkit.datasets.folders import whole_path
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.lessons import session
from labkit.settings import REPO, given_path
from labkit.text import printable


def verb(options):
    """Measure the files, write the page and say which to keep."""
    strengths, target = strengths_of(options.strength), given_path(options.to or REPO / "out" / "judge.html")
    if target.suffix != ".html":
        raise LabError(f"--to {options.to}: the file's name must end in .html, which is what it will be.")
    with ProgressLine() as line:
        chosen = _chosen(options, strengths, target, line)
    text = f"{chosen.table()!r}\n\n{chosen.sentence}\nPictures and numbers: {target}"
    about = {"base": options.base, "data": options.data, "held_out": options.held_out, "page": str(target)}
    return Outcome(0, "\n".join(map(printable, text.split("\n"))), about | chosen.to_dict())


def _chosen(options, strengths, target, line):
    """Return what the judged files come to, and write the page of it."""
    with line.doing("loading torch"):
        from labkit.cli.judge_page import page  # here, as bad input is to be answered before they are loaded
        from labkit.engine.base_files import find_base
        from labkit.experiments import judged_files
        from labkit.experiments.chosen_file import ChosenFile
        from labkit.lab import Lab

    with line.doing("reading the files"):
        adapters = judged_files.read_files(options.files, find_base(whole_path(options.base)))
    with line.doing("reading the pictures"):
        pictures = judged_files.opened(options.data, options.held_out, **reading(options))
    for note in pictures.notes:
        line.tell(f"data: {note}")
    lab = Lab(whole_path(options.base), pictures, dtype=options.dtype, max_rows=options.rows,
              monitor=session.monitor())
    prepare(lab, line)
    with line.doing("measuring"):
        chosen = ChosenFile(judged_files.judge_files(lab, adapters, strengths, line.tell, line.count))
    with line.doing("writing the page"):
        write_file(target, page(chosen, lab).encode(), choose="--to")
    return chosen


def strengths_of(text: str) -> list[float]:
    """Return the strengths of a text such as "0.5,1", each once; LabError where one is no number above 0."""
    strengths = []
    for part in text.split(","):
        try:
            strengths.append(float(part))
        except ValueError:
            strengths.append(math.nan)
        if not 0 < strengths[-1] < 100:
            raise LabError(f"--strength {text}: {part.strip() or 'an empty part'} is no strength: give numbers above "
                           "0 with commas between, such as 0.5,1.")
    return list(dict.fromkeys(strengths))
