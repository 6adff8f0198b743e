"""Read what a class handed in: one table, one page, one figure. Records are read, and nothing is executed."""

import os
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from labkit.cli import class_page, progress, submission
from labkit.cli.parser import Outcome
from labkit.errors import LabError
from labkit.files.atomic import cannot_write, write_file
from labkit.files.regular import read_regular
from labkit.lessons import notebooks
from labkit.lessons.results import PASSED
from labkit.settings import REPO, given_path
from labkit.store.runs import Store
from labkit.text import printable


def verb(options):
    """Collect the submissions below a folder; exit code 1 if one of them was left out."""
    folder, out = given_path(options.folder), given_path(options.to or REPO / "out" / "class")
    if not folder.is_dir():
        raise LabError(f"{printable(folder)} is no folder: give the one with the files that were handed in.")
    files = sorted(path for path in folder.rglob("*.zip") if path.is_file() and not path.is_symlink())
    if not files:
        raise LabError(f"There is no zip file in {printable(folder)}: a student's `labkit submit` writes one.")
    lessons = Lessons()
    students, left_out = {}, []
    with tempfile.TemporaryDirectory() as place:
        for number, file in enumerate(files):
            try:
                handed_in = submission.unpacked(file, Path(place) / str(number))
                student, faults = of_student(handed_in, lessons)
            except LabError as error:
                sentence = str(error).replace(f"{place}{os.sep}{number}{os.sep}", "")
                left_out.append(sentence if sentence.startswith(file.name) else f"{file.name}: {sentence}")
                continue
            except Exception as error:                        # of one file, whatever it holds: the others are kept
                left_out.append(f"{file.name} is left out, its records cannot be read ({type(error).__name__}).")
                continue
            left_out += faults
            new, known = (student, handed_in), students.get(handed_in.student)
            if known:
                new, known = sorted([known, new], key=lambda each: each[0]["made"], reverse=True)
                left_out.append(f"{handed_in.student} handed in twice: {new[0]['file']}, the later one, is taken "
                                f"and not {known[0]['file']}.")
            students[handed_in.student] = new
        for _, handed_in in students.values() if options.nbgrader else ():
            left_out += for_nbgrader(handed_in, lessons, given_path(options.nbgrader))
    collected = [students[name][0] for name in sorted(students, key=str.casefold)]
    mark_shared(collected)
    names = [name for name in (*lessons.checks, progress.OTHER) if any(name in one["lessons"] for one in collected)]
    write(out, collected, names, left_out)
    lines = [*class_page.text_table(collected, names).splitlines(), *left_out, f"Table, page and figure: {out}"]
    return Outcome(1 if left_out else 0, "\n".join(map(printable, lines)),
                   {"students": collected, "left_out": left_out, "out": str(out)})


class Lessons:
    """Hold what is needed to know a copy of a lesson again: the lessons are read once for a whole class."""

    def __init__(self):
        """Read the lessons."""
        self.checks = {path.stem: [cell.get("id") for cell in notebooks.tagged(notebooks.read(path), "check")]
                       for path in notebooks.lessons()}
        self.first_cells = notebooks.first_cells()

    def of(self, path):
        """Return a notebook and the lesson it is a copy of, by its first cell of code, else by its file's name."""
        notebook = notebooks.read(path)
        sources = [notebooks.source(cell) for cell in notebook["cells"]]
        first = next((source for source in sources if notebooks.BEGIN in source), "")
        return notebook, notebooks.lesson_of(first, self.first_cells) or path.stem


def of_student(handed_in, known):
    """Return ({student, file, made, lessons: {lesson: its numbers}}, sentences on runs that cannot be read)."""
    file = printable(handed_in.file.name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = progress.by_lesson(Store(handed_in.folder / "runs"))
    faults = [f"{file}: " + str(each.message).replace(f"{handed_in.folder}{os.sep}", "") for each in caught]
    lessons = {lesson: _numbers(entries, known.checks.get(lesson, ())) for lesson, entries in runs.items()}
    for path in handed_in.notebooks:
        notebook, lesson = known.of(path)
        if lesson in known.checks:
            found = lessons.setdefault(lesson, _numbers([], known.checks[lesson]))
            found["passed"] = max(found["passed"], len(set(passed(notebook)) & set(known.checks[lesson])))
    return {"student": handed_in.student, "file": file, "made": handed_in.made, "lessons": lessons}, faults


def _numbers(entries, checks):
    return {"passed": 0, "asked": len(checks), "entries": entries} | progress.summary(entries)


def passed(notebook):
    """Return the ids of the check cells whose saved output says that they passed."""
    for cell in notebooks.tagged(notebook, "check"):
        for output in cell.get("outputs") or ():
            data = output.get("data")
            text = data.get("text/plain", "") if isinstance(data, dict) else ""
            if "".join(text if isinstance(text, (list, str)) else "").startswith(f"{PASSED}:"):
                yield cell.get("id")


def mark_shared(students):
    """Add to each student the number of runs that somebody else handed in as well: the same id is the same seed."""
    ids = {one["student"]: {entry["id"] for lesson in one["lessons"].values() for entry in lesson["entries"]}
           for one in students}
    counts = Counter(run for runs in ids.values() for run in runs)
    for one in students:
        one["shared_runs"] = sum(counts[run] > 1 for run in ids[one["student"]])


def for_nbgrader(handed_in, known, course):
    """Put a submission where nbgrader looks for it; return a sentence for each lesson that was there already.

    Of several copies of one lesson the one that bears its name counts, else the first. The notebook is written last,
    so that a submission is whole where it is.
    """
    left: list[str] = []
    copies: dict[str, list] = {}
    for path in handed_in.notebooks:
        copies.setdefault(known.of(path)[1], []).append(path)
    for lesson, paths in copies.items():
        path = next((each for each in paths if each.stem == lesson), paths[0])
        left += [f"{printable(other.name)} of {printable(handed_in.student)} is another copy of {lesson}: {path.name} "
                 "is taken." for other in paths if other != path]
        target = course / "submitted" / submission.safe_name(handed_in.student) / lesson
        if (target / f"{lesson}.ipynb").exists():
            left.append(f"{printable(target)} is there already and stays as it is: move it away to take a later one.")
            continue
        for record in (path for path in handed_in.folder.glob("runs/**/*") if path.is_file()):
            write_file(target / record.relative_to(handed_in.folder), read_regular(record), choose="--nbgrader",
                       durable=False)
        write_file(target / f"{lesson}.ipynb", read_regular(path), choose="--nbgrader")
    return left


def write(out, students, lessons, left_out):
    """Write class.csv, class.png and class.html."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error, choose="--to") from None
    figure = class_page.figure(students, lessons)
    picture = figure.encoded("png")
    write_file(out / "class.csv", class_page.csv_table(students, lessons).encode("utf-8-sig"), choose="--to")
    write_file(out / "class.png", picture, choose="--to")
    write_file(out / "class.html", class_page.page(students, lessons, left_out, picture, figure.summary).encode(),
               choose="--to")
