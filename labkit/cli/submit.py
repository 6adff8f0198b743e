"""Pack what one student did into one file to hand in: notebooks with their answers, and the records of runs."""

import json
from datetime import UTC, datetime

from labkit.cli import my_lessons, progress, submission
from labkit.cli.clean import clean_output
from labkit.cli.parser import Outcome
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.lessons import notebooks
from labkit.settings import given_path
from labkit.store.runs import Store
from labkit.text import printable


def verb(options):
    """Write the submission; say of each lesson how far it has come, as the records of its runs tell it."""
    folder = given_path(options.notebooks) if options.notebooks else my_lessons.folder()
    answers = {path.name: notebook for path in sorted(folder.glob("*.ipynb"))
               if _was_run(notebook := notebooks.read(path))}
    store = Store(options.store)
    runs = progress.by_lesson(store)
    if not answers and not runs:
        raise LabError(f"There is nothing to hand in: no notebook in {folder} was run, and there is no run in "
                       f"{store.root}. --notebooks and --store name other folders.")
    student = options.student or _student(answers.values())
    if not student or not student.strip() or not student.isprintable():
        raise LabError("Whose work is it? Write your name into the parameters of your notebooks, or give it with "
                       "--student.")
    target = given_path(options.to or f"{submission.safe_name(student)}.zip")
    if target.exists() and not submission.is_submission(target):
        raise LabError(f"{printable(target)} is there already and is no submission: give another name with --to.")
    data, is_whole = submission.packed(
        student.strip()[:submission.LONGEST], datetime.now(UTC).isoformat(timespec="seconds"),
        {name: _bytes(notebook) for name, notebook in answers.items()},
        [store.root / entry["id"] for entries in runs.values() for entry in entries])
    write_file(target, data, choose="--to")
    lines = [progress.line(lesson, entries) for lesson, entries in runs.items()]
    lines += [] if is_whole else ["There is no room for the pictures of the runs; those in notebooks are handed in."]
    lines += [f"Notebooks: {', '.join(answers) or 'none'}.", f"{target}, {len(data) / 1e6:.1f} MB, is what {student} "
              "hands in."]
    account = {"path": str(target), "student": student, "notebooks": list(answers),
               "lessons": {lesson: progress.summary(entries) for lesson, entries in runs.items()}}
    return Outcome(0, "\n".join(map(printable, lines)), account)


def _was_run(notebook) -> bool:
    """Tell whether a cell of a notebook was run: a copy that nobody opened holds no answers."""
    return any(cell.get("execution_count") for cell in notebook["cells"])


def _student(answers):
    """Return the name that notebooks have among their parameters; LabError where there are two."""
    names = {values.get("student") for notebook in answers for cell in notebooks.tagged(notebook, "parameters")
             for values in [notebooks.assigned(notebooks.source(cell))]}
    names = {name.strip() for name in names if isinstance(name, str) and name.strip()}
    if len(names) > 1:
        raise LabError(f"The notebooks name {', '.join(sorted(names))}: say with --student who hands them in.")
    return names.pop() if names else None


def _bytes(notebook) -> bytes:
    """Return a notebook without widgets and without paths of this machine."""
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            outputs = [output | {"metadata": output.get("metadata") or {}} if "data" in output else output
                       for output in cell.get("outputs") or ()]
            cell["outputs"] = [output for output in map(clean_output, outputs) if output]
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True).encode()
