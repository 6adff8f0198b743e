"""What a panel shows, as plain values for its front end: knobs, what is known at each rung, schedule, cost, shelf."""

import traceback

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.design.glossary import glossary, term
from labkit.design.ladders import rung_text, rungs
from labkit.design.naming import differing
from labkit.design.schedules import rates
from labkit.errors import LabError
from labkit.judge.score_text import short as score_text
from labkit.judge.verdict_text import LABELS
from labkit.lessons.panel_choice import order_of, short
from labkit.text import counted, duration, rate_text, rounded
from labkit.view.cards import loss_change, trained_at
from labkit.view.race_data import encoded
from labkit.view.style import VERDICTS
from labkit.view.tables import lowest

POINTS = 80  # of a drawn schedule
ASSUMED = 96  # pictures, before a territory is read


def resolved(panel, design) -> RunConfig:
    """Return a design with everything derived, for the pictures there are, or for ASSUMED before they are read."""
    return design.resolved(panel.pictures_known or max(ASSUMED, design.n_train or 0, design.train_batch_size))


def knobs(panel) -> list[dict]:
    """Return each knob with its rungs: which of them are chosen, and at which the run is already trained."""
    return [_knob(panel, name) for name in panel.knobs]


def _knob(panel, name):
    is_raced, now = name == panel.raced, getattr(panel.design, name)
    chosen = panel.values if is_raced else (now,)
    texts = dict((value, text) for text, value in rungs(name, now))
    texts |= {value: rung_text(name, value) for value in chosen if value not in texts}
    entries = [{"text": texts[value], "chosen": value in chosen, "known": _is_known(panel, name, value)}
               for value in sorted(texts, key=order_of(name))]
    chapter = glossary().get(name, {}).get("chapter") if panel.voice == "both" else None
    words = term(name, "chapter" if panel.voice == "chapter" else "field") if name in glossary() else name
    return {"name": name, "label": words, "aside": chapter or "", "raced": is_raced, "rungs": entries}


def value_of(panel, name: str, text: str):
    """Return the value of a knob at the rung that bears a text; LabError: there is none."""
    for rung, value in [*rungs(name, getattr(panel.design, name)), *((rung_text(name, v), v) for v in panel.values)]:
        if rung == text:
            return value
    raise LabError(f"{name}: {text!r} is no rung of this knob.")


def _is_known(panel, name, value) -> bool:
    try:
        design = short(panel.design.replace(**{name: value}))
    except LabError:                                          # an impossible value
        return False
    return any(panel.is_known(run_id) for run_id in panel.named([design]))


def schedules(panel) -> dict:
    """Return the rate of every update of each design as it will be applied: at most POINTS of each."""
    lines, configs = [], [resolved(panel, design) for design in panel.designs]
    for config in configs:
        line = rates(config)
        at = sorted({round(i * (len(line) - 1) / (POINTS - 1)) for i in range(POINTS)})
        lines.append([[step, line[step]] for step in at])
    highest = max(rate for line in lines for _, rate in line)
    last = max(config.max_train_steps for config in configs)
    return {"lines": lines, "highest": highest, "high": rate_text(float(f"{highest:.3g}")), "last": last,
            "words": f"The rate of every update as it will be applied: {panel.design.lr_scheduler}, at most "
                     f"{rate_text(float(f'{highest:.3g}'))}, over {counted(last, 'update')}."}


def scaling(config) -> str:
    """Say rank, alpha and the scaling they give, always together: the chapter's Alpha is the scaling."""
    root = "√rank" if config.use_rslora else "rank"
    return (f"rank {config.rank} · alpha {config.alpha:g} · scaling = alpha / {root} = {config.scaling:g} "
            f"(the chapter's Alpha) · batch {config.effective_batch_size} · seed {config.seed}")


def cost(configs, known: int, pace) -> str:
    """Say what runs cost before they start; `known` of them are already trained, and not among the configurations."""
    found = f"{counted(known, 'run')} already trained" if known else ""
    if not configs:
        return f"{found}: nothing to wait for."
    steps = sorted({config.max_train_steps for config in configs})
    updates = " to ".join(f"{step:,}" for step in (steps[0], steps[-1])[:len(steps)]) + (
        " updates" if steps[-1] > 1 else " update")
    views = sorted({rounded(volume.views(config.max_train_steps, config.effective_batch_size, config.n_train))
                    for config in configs}, key=lambda text: float(text.replace(",", "")))
    seen = " to ".join((views[0], views[-1])[:len(views)])
    runs = f"{counted(len(configs), 'run')} of {updates}"
    kinds = {config.n_train for config in configs}
    pictures = f"each of {kinds.pop()} pictures" if len(kinds) == 1 else "each picture"
    how = "as measured here" if pace.is_measured else "a guess until the first run"
    return (f"{runs}, {pictures} seen about {seen} times: about {duration(pace.guess(configs))} ({how})."
            f"{' ' + found + '.' if found else ''}")


def question(panel, has_news: bool) -> dict | None:
    """Return what is asked before something new trains: once a scenario, the preset and the raced knob."""
    if not has_news or "prediction" in panel.hide or scenario(panel) in panel.predictions:
        return None
    if len(panel.values) > 1:
        return {"words": "Before it trains: which ends lowest?",
                "answers": [rung_text(panel.raced, value) for value in panel.values]}
    return {"words": "Before it trains: what will the verdict be?", "answers": list(LABELS)}


def scenario(panel) -> tuple:
    """Return what a prediction is asked for once: a preset, or what is raced."""
    return panel.preset and panel.preset.look, panel.raced, len(panel.values) > 1


def reveal(panel) -> str:
    """Say what was predicted of the shown runs, and what came of it; nothing where nobody predicted."""
    said = panel.predictions.get(scenario(panel))
    runs = [run for run in panel.results if run.stopped and not run.config.lr_edits]      # what was asked about
    if not said or not runs:
        return ""
    if len(panel.values) == 1:
        return f"You said {said}: it is {panel.verdict.label}." if panel.verdict else ""
    finite = [run for run in runs if run.status == "finished" and "validation" in run.validations]
    if len(finite) < 2:
        return f"You said {said}."
    best, *rivals = (panel.label(run) for run in lowest(finite))
    aside = f", within noise also {', '.join(rivals)}" if rivals else ""
    came = "and so it is" if said == best else "within noise it is" if said in rivals else f"but {best} ends lowest"
    return f"You said {said}, {came}{aside if said not in rivals else f': lowest is {best}'}."


def shelf(panel, pictures: dict) -> list[dict]:
    """Return the runs on the shelf, newest first: outcome, settings, what differs from the design, a thumbnail.

    pictures    thumbnails by run, of earlier calls: those that are missing are added
    """
    judged = panel.shelf.judged()
    names = [name for name in differing([run for run, _ in judged]) if name not in ("target_modules", "lr_edits")]
    design = panel.design.to_dict()
    rows = []
    for run, verdict in reversed(judged):
        symbol, color = VERDICTS[verdict.label]
        config = run.config.to_dict()
        if run not in pictures:
            pictures[run] = _thumbnail(run)
        settings = [{"name": name.replace("_", " "), "text": rung_text(name, config[name]),
                     "differs": design[name] is not None and config[name] != design[name]} for name in names]
        rows.append({"id": run.run_id, "when": trained_at(run), "label": verdict.label, "symbol": symbol,
                     "color": color, "loss": loss_change(run), "score": score_text(verdict.score).split(",")[0],
                     "settings": settings, "pinned": run in panel.shelf.pins, "name": panel.label(run),
                     "shown": any(run.run_id == other.run_id for other in panel.results),
                     "picture": pictures[run]})
    return rows


def _thumbnail(run):
    """Return the first picture of a run's last drawing as WebP; None where there is none, or it is damaged."""
    drawn = [samples for samples in run.samples if samples.strength == 1]
    try:
        return encoded(drawn[-1], 1)[0] if drawn else None
    except LabError:
        return None


def fault(error) -> dict:
    """Return an error in words, with its traceback where it is not the user's to mend."""
    is_ours = isinstance(error, LabError)
    return {"words": str(error) if is_ours else f"{type(error).__name__}: {error}",
            "trace": "" if is_ours else "".join(traceback.format_exception(error))}


def ending(run) -> str:
    """Say how what was asked for ended."""
    if run.is_from_store:
        return "already trained: shown as found"
    runs = [each for each in run.results if each.stopped]
    if not runs:
        return "stopped before it began"
    if len(runs) > 1:
        ended = {reason: sum(each.status == reason for each in runs) for reason in ("finished", "stopped", "diverged")}
        return ", ".join(f"{count} {reason}" for reason, count in ended.items() if count)
    [one] = runs
    words = {"finished": "finished", "stopped": "stopped", "diverged": "diverged: the loss is no longer a number"}
    return f"{words.get(one.status, one.status)} after {counted(one.stopped.global_step, 'update')}"
