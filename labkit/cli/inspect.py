"""Say what a file or a folder is, what is odd about it and what would happen to it, before any model is loaded."""

from contextlib import suppress
from pathlib import Path

from labkit.cli import checkup
from labkit.cli.foreign_log import ROLES, is_store
from labkit.cli.parser import Outcome
from labkit.errors import LabError
from labkit.machine import Finding
from labkit.settings import given_path
from labkit.text import counted

FIELDS = ("learning_rate", "lr_scheduler", "rank", "alpha", "train_batch_size", "max_train_steps", "seed")
SETTINGS = (".toml", ".yaml", ".yml", ".sh", ".bat", ".cmd", ".ps1")     # files of settings; .json may also be a log
GIVE = "give a folder of pictures or of logs, an adapter, a log, a base, or a run by its folder, id or name"


def verb(options):
    """Print what is found; exit code 2 where something is bad."""
    results = inspect(place(options.path, options.store), options.base, **checkup.reading(options))
    return Outcome(2 if checkup.is_bad(results) else 0, checkup.text(results), [each._asdict() for each in results])


def place(name: str, store: str | None) -> Path:
    """Return the file or folder that is meant: a path, or else the folder of a run by its id or name, as elsewhere.

    LabError where neither is there, or the name means several runs.
    """
    path = given_path(name)
    if path.exists():
        return path
    from labkit.store.runs import Store  # loads numpy

    try:
        return Store(store).named(name).path
    except LabError as error:
        raise LabError(f"{path} is not there: {GIVE}. {error}") from None


def inspect(path: Path, base: str | None = None, **reading) -> list[Finding]:
    """Return the Findings on pictures, adapters, a base, runs, logs or settings; LabError for anything else.

    base       whose tokenizer counts the captions of a folder; None takes the embedded one
    reading    crop and captions of a folder
    """
    if not path.exists():
        raise LabError(f"{path} is not there: {GIVE}.")
    if path.is_dir():
        return _folder(path, base, reading)
    from labkit.store.foreign_logs import is_log  # loads numpy, and a path that is not there is answered before that

    if path.suffix.lower() in SETTINGS:
        return _settings(path)
    if path.suffix.lower() == ".json":
        return _json(path)
    if is_log(path):
        return _logs(path)
    from labkit.experiments.adapter_inspection import inspect_adapter  # loads numpy and matplotlib

    try:
        return inspect_adapter(path)
    except LabError as error:
        if path.suffix != ".safetensors" or "no adapter" not in str(error):
            raise
    return checkup.inputs(base=str(path))


def _json(path: Path) -> list[Finding]:
    """Return what a JSON file is: a log, or else settings."""
    try:
        return _logs(path)
    except LabError as no_log:
        try:
            return _settings(path)
        except LabError:
            raise no_log from None


def _settings(path: Path) -> list[Finding]:
    """Return whose settings a file holds and which verb reads them; LabError where they are of no known trainer."""
    # they load numpy and Pillow
    from labkit.cli.translate import opened
    from labkit.design.trainers.known import TRAINERS

    try:
        source, settings = opened(str(path))
    except LabError as error:
        if "no trainer that is known" not in str(error):
            raise
        raise LabError(f"{path} holds settings of no trainer that is known by their names: if they are of "
                       f"{', '.join(name for name in TRAINERS if name != 'labkit')}, `labkit translate {path} --from "
                       "NAME` reads them.") from None
    if source.name == "labkit":
        return [Finding("design", "good", f"{path} is a design of this kit",
                        f"`labkit checkup {path}` looks it over, `labkit train --config {path}` trains it.")]
    return [Finding("settings", "good", f"{path} holds {counted(len(settings), 'setting')} of {source.title}",
                    f"`labkit translate {path}` writes them as a design and says what does not come along.")]


def _folder(path: Path, base: str | None, reading: dict[str, str]) -> list[Finding]:
    if (path / "model_index.json").is_file() or (path / "unet").is_dir():
        return checkup.inputs(base=str(path))
    if (path / "events.jsonl").is_file():
        return _run(path)
    if is_store(path):
        return [Finding("runs", "good", f"{path} holds recorded runs", f"`labkit runs --store {path}` lists them, and "
                        f"`labkit diagnose {path}` gives verdicts on them.")]
    if any("tfevents" in file.name for file in path.iterdir()):
        return _logs(path)
    # they load numpy and Pillow
    from labkit.experiments.adapter_inspection import inspect_adapters
    from labkit.experiments.folder_inspection import NO_PICTURES, inspect_folder

    pictures = inspect_folder(str(path), base or "embedded", **reading)
    if pictures[0].state != "bad":
        return pictures
    has_pictures = NO_PICTURES not in pictures[0].found
    if adapters := inspect_adapters(path):                    # beside which previews may lie, without captions
        return adapters + ([pictures[0]._replace(state="note")] if has_pictures else [])
    if not has_pictures:
        with suppress(LabError):                              # which says that there are no logs in it either
            return _logs(path)
    return pictures


def _run(path: Path) -> list[Finding]:
    from labkit.judge.diagnose import diagnose  # loads numpy
    from labkit.store.runs import Store

    folder = Store(path.parent).run(path.name)
    run, kept = folder.load(), folder.checkpoints()
    after = f"kept after {', '.join(f'{step:,}' for step in kept)} updates" if kept else "no adapter is kept"
    return [Finding("run", "good", f"{run.run_id} on {run.config.data}, {folder.status}; {after}"),
            Finding("settings", "good", ", ".join(f"{name} {getattr(run.config, name)}" for name in FIELDS)),
            _verdict(diagnose(run))]


def _verdict(verdict) -> Finding:
    """Return a verdict as a Finding: bad where the run broke, a note where there is something to do."""
    from labkit.judge.verdict_text import DIVERGED, HEALTHY  # loads numpy

    state = {DIVERGED: "bad", HEALTHY: "good"}.get(verdict.label, "note")
    return Finding("verdict", state, verdict.sentence)


def _logs(path: Path) -> list[Finding]:
    """Return what each log is and holds, what is odd about it, and its verdict, which `diagnose` tells at length."""
    # they load numpy
    from labkit.judge.foreign import judge_log
    from labkit.store.foreign_logs import read_logs

    logs, left_out = read_logs(path)
    results = [Finding("left out", "note", sentence) for sentence in left_out]
    for log in logs:
        series = {words: getattr(log, role) for role, words in ROLES.items()}
        holds = [f"{words} ({counted(len(one), 'point')})" for words, one in series.items() if one is not None]
        of = f" of {log.trainer}" if log.trainer else ""
        results.append(Finding("log", "good", f"{log.name}: {log.form}{of}; {', '.join(holds)}"))
        verdict = judge_log(log)
        results += [Finding("note", "note", note) for note in (*verdict.cautions, *log.notes)]
        results.append(_verdict(verdict))
    return results
