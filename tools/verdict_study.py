"""How often are verdicts right? Simulated runs of known course, recorded runs against what was kept from the judge.

    python tools/verdict_study.py            the tables for LOG.md, about four minutes of one core
    python tools/verdict_study.py --before REVISION    the same for the judge as it was at a commit

A simulated run has a smooth course (it learns, crawls, turns, overfits...), a jitter that moves all pictures at once,
and 32 pictures that gain unequally. Its true label is what the rule says of the course without noise. All draws are
seeded.
"""

import argparse
import dataclasses
import sys
from collections import defaultdict
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from old_judge import judge_at  # noqa: E402

from labkit.design.config import RunConfig  # noqa: E402
from labkit.engine.monitor import log_spaced  # noqa: E402
from labkit.judge import course, findings  # noqa: E402
from labkit.judge import diagnose as today  # noqa: E402
from labkit.store.events import Step, Validation  # noqa: E402
from labkit.store.history import RunBuilder  # noqa: E402
from labkit.store.recorded import recorded  # noqa: E402

PICTURES, BINS = 32, 8
CONFIDENCES = (0.8, 0.9, 0.95)
SETS = ("u_curve", "presets", "batch_equal_updates", "batch_equal_epochs", "eightfold", "long_runs")


# ---------------------------------------------------------------- simulated runs


def simulated(steps, validation, probe, jitter, rng, *, start=0.15, spread=0.6, picture_noise=0.15):
    """Return a Run whose mean change of the loss follows two courses (T,), seen through noise.

    jitter           standard deviation of what moves all pictures at once, as a share of the largest change
    spread           how unequally pictures gain
    picture_noise    of a picture alone at each evaluation, as a share of the largest change
    """
    steps = np.asarray(steps)
    config = RunConfig(max_train_steps=int(steps[-1])).resolved(48)
    builder = RunBuilder("0" * 16, config)
    for step in range(1, int(steps[-1]) + 1):
        builder.add(Step("0" * 16, step, 4 * step, 0.1, 1e-3, 0.5, 0.01))
    size = float(np.abs(np.concatenate([validation, probe])).max()) or 0.01 * start
    moved = np.minimum(1.0, np.abs(validation) / size * 2)  # a run that has not moved cannot tremble
    shared = jitter * size * moved * rng.normal(size=len(steps))
    for name, means in (("validation", validation), ("probe", probe)):
        bins = np.arange(PICTURES) % BINS
        gains = np.exp(spread * (rng.normal(size=PICTURES) * 0.7 + rng.normal(size=BINS)[bins] * 0.7))
        gains /= np.mean(np.exp(spread * (rng.normal(size=4000) * 0.99)))
        level = start * rng.uniform(0.5, 1.5, PICTURES)
        noise = picture_noise * size * moved * rng.normal(size=(PICTURES, len(steps)))
        losses = level[:, None] + gains[:, None] * means + shared + noise
        timesteps = (bins * 125 + 60)[:, None]
        for at, step in enumerate(steps):
            builder.add(Validation("0" * 16, int(step), 4 * int(step), name, "monitor",
                                 losses[:, at, None].astype(np.float32), timesteps))
    return builder.build()


def truth(steps, validation, probe, start=0.15):
    """Return the label that the rule gives to courses without noise."""
    halfway, late = (np.interp(share * steps[-1], steps, validation) for share in (0.5, 0.75))
    exact = findings.Draws(np.asarray(steps), start, validation[None], np.array([halfway]), np.array([late]),
                           probe[None], start, start + validation)
    return str(findings.rule(exact)[0])


def evaluations(last, count=None):
    """Return the steps of the evaluations: as a run's monitor takes them, or so many of them."""
    if count is None:
        return np.array(sorted({0, last, *log_spaced(last)}))
    return np.unique(np.concatenate([[0], np.round(np.geomspace(4, last, count - 1))]).astype(int))


def drawn_course(rng, steps):
    """Return (validation, probe) of a run of random kind; thresholds are met from both sides."""
    time = np.asarray(steps) / steps[-1]
    gain = 0.15 * np.exp(rng.uniform(np.log(0.008), np.log(0.5)))
    kind = rng.choice(["learns", "crawls", "turns", "overfits", "plateau", "nothing"],
                      p=[0.3, 0.15, 0.2, 0.15, 0.15, 0.05])
    pace = np.exp(rng.uniform(np.log(0.03), np.log(0.8)))
    fall = -gain * (1 - np.exp(-time / pace))
    if kind == "learns":
        return fall, 1.1 * fall
    if kind == "plateau":
        fall = -gain * (1 - np.exp(-time / 0.05))
        return fall, fall
    if kind == "crawls":
        crawl = -gain * (1 - np.exp(-time * rng.uniform(0.02, 0.8)))
        return crawl, crawl
    if kind == "nothing":
        return np.zeros(len(time)), np.zeros(len(time))
    turn = rng.uniform(0.1, 0.8)
    rise = gain * np.exp(rng.uniform(np.log(0.02), np.log(2.0))) * (np.clip(time - turn, 0, None)
                                                                    / (1 - turn)) ** rng.uniform(0.7, 2)
    fall = -gain * (1 - np.exp(-time / (0.4 * turn)))
    if kind == "turns":
        return fall + rise, fall + rise * rng.uniform(0.6, 1.1)
    return fall + rise, 1.2 * fall - 0.4 * gain * np.clip(time - turn, 0, None)


def population(judge, count, seed):
    """Return (true label, verdict) of simulated runs of every kind."""
    pairs = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        last = int(rng.choice([60, 100, 200, 500, 1000]))
        steps = evaluations(last, None if rng.random() < 0.5 else int(rng.choice([8, 15, 31])))
        validation, probe = drawn_course(rng, steps)
        jitter = np.exp(np.log(0.04) + np.log(2.5) * rng.normal())
        verdict = judge.diagnose(simulated(steps, validation, probe, min(jitter, 0.5), rng))
        pairs.append((truth(steps, validation, probe), verdict))
    return pairs


# ---------------------------------------------------------------- single faults


def plateau(judge, count, evals, jitter, seed, last=200):
    """Return verdicts of runs that fall and then stay, with a jitter."""
    verdicts = []
    for i in range(count):
        rng = np.random.default_rng([seed, evals, i])
        steps = evaluations(last, evals)
        course = -0.012 * (1 - np.exp(-steps / (0.06 * last)))
        verdicts.append(judge.diagnose(simulated(steps, course, course, jitter, rng)))
    return verdicts


def small_gain(judge, count, gain, lost, seed):
    """Return verdicts of runs with little to gain: `gain` of the loss at the start, of which `lost` goes again."""
    verdicts = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        steps = evaluations(1000)
        time = steps / 1000
        fall = -gain * 0.15 * (1 - np.exp(-time / 0.1))
        course = fall + lost * gain * 0.15 * np.clip(time - 0.4, 0, None) / 0.6
        verdicts.append(judge.diagnose(simulated(steps, course, fall * 1.2 if lost else fall, 0.03, rng)))
    return verdicts


def shapes(judge):
    """Return the verdicts of single telling courses, seen almost without noise."""
    rng, steps = np.random.default_rng(5), evaluations(200, 8)
    time = steps / 200
    steady = -0.045 * time
    back = 0.15 * np.array([0, 0.2, 1.1, 1.2, 0.8, 0.3, 0.08, 0.05])
    last_up = np.append(-0.03 * (1 - np.exp(-time[:-1] / 0.2)), -0.012)
    few = evaluations(3, 4)
    cases = {"doubled its loss, came back, ends 5 % up": (steps, back, back),
             "a steady fall of 30 %, alone": (steps, steady, steady),
             "the last evaluation alone 60 % of the gain up": (steps, last_up, -0.03 * (1 - np.exp(-time / 0.2))),
             "3 updates": (few, -0.001 * few / 3, -0.001 * few / 3)}
    return {name: judge.diagnose(simulated(at, validation, probe, 0.005, rng, picture_noise=0.02))
            for name, (at, validation, probe) in cases.items()}


# ---------------------------------------------------------------- recorded runs


def configurations():
    """Return recorded runs of several evaluations, grouped by everything but the seed."""
    groups = defaultdict(dict)
    for name in SETS:
        for run in recorded(name):
            fields = run.config.to_dict()
            seed = fields.pop("seed")
            if len(run.validations["validation"].steps) >= 6:
                groups[str(sorted(fields.items()))].setdefault(seed, run)
    return [list(runs.values()) for runs in groups.values()]


def part_of(run, pictures=slice(None), upto=None):
    """Return a run as it would look on some of its held-out pictures, or at an earlier time."""
    builder = RunBuilder(run.run_id, run.config, meta=run.meta)
    last = run.validations["validation"].steps[-1] if upto is None else upto
    for at, step in enumerate(run.steps["global_step"]):
        if step <= last:
            builder.add(Step(run.run_id, int(step), int(run.steps["samples_seen"][at]),
                           *(float(run.steps[name][at])
                             for name in ("loss", "learning_rate", "grad_norm", "update_norm"))))
    for name in ("validation", "probe"):
        curve, chosen = run.validations[name], pictures if name == "validation" else slice(None)
        for step, losses in zip(curve.steps, curve.losses, strict=True):
            if step <= last:
                builder.add(Validation(run.run_id, int(step), 0, name, "monitor", losses[chosen],
                                     run.timesteps[name][chosen]))
    return builder.build()


def scatter(runs):
    """Return how far one evaluation of a design lies from the mean of its seeds, as a share of what was gained.

    None where a run broke.
    """
    means = np.array([run.validations["validation"].means for run in runs])
    gain = (means[:, 0] - means.min(axis=1)).mean()
    if not np.isfinite(means).all() or means.max() > 1.5 * means[0, 0] or gain <= 0:
        return None
    return float(np.median(means.std(axis=0, ddof=1)[1:]) / gain)


def other_half(judge, groups):
    """Return (what the run's other pictures and the design's other seeds say, verdict from half of the pictures).

    What is known of jitter beforehand comes from the other designs alone: the scatter between their seeds.
    """
    pairs, scatters = [], [scatter(runs) for runs in groups]
    for at, runs in enumerate(groups):
        others = np.median([s for i, s in enumerate(scatters) if i != at and s is not None])
        for run in runs:
            order = np.argsort(run.timesteps["validation"][:, 0], kind="stable")
            halves = order[::2], order[1::2]
            for one, other in (halves, halves[::-1]):
                with mock.patch.object(course, "JITTER_MEDIAN", others):
                    verdict = judge.diagnose(part_of(run, np.sort(one)))
                pairs.append((reference(runs, run, other), verdict))
    return pairs


def reference(runs, run, pictures):
    """Return the label of the mean course of a design's other seeds on other pictures.

    It is what the rule says of the middle of today's draws.
    """
    courses = [findings.draws_of(part_of(other, np.sort(pictures))) for other in runs if other is not run
               and np.isfinite(other.validations["validation"].losses).all()]
    if not courses:
        return today.DIVERGED
    first = courses[0]
    mean = {name: np.mean([getattr(c, name).mean(axis=0) for c in courses], axis=0)[None]
            for name in ("validation", "probe", "halfway", "late")}
    seen = np.mean([c.seen for c in courses], axis=0)
    return str(findings.rule(dataclasses.replace(first, **mean, seen=seen))[0])


def cut_short(judge, groups, share):
    """Return (verdict at the end, verdict after a share of the updates, was the next evaluation higher) of runs.

    Only runs of 100 updates and more count.
    """
    verdicts = []
    for runs in groups:
        for run in runs:
            steps = run.validations["validation"].steps
            if steps[-1] >= 100:
                at = int(np.searchsorted(steps, share * steps[-1]))
                means = run.validations["validation"].means
                rose = at + 1 < len(steps) and bool(means[at + 1] > means[at])
                verdicts.append((judge.diagnose(run), judge.diagnose(part_of(run, upto=steps[at])), rose))
    return verdicts


# ---------------------------------------------------------------- tables


def coverage(pairs):
    """Return rows: of the verdicts given with a confidence near c, how many are right."""
    rows, edges = [], [(0.8, 0.85, 0.8), (0.85, 0.925, 0.9), (0.925, 0.975, 0.95), (0.975, 1.01, 1.0)]
    decided = [(label, verdict) for label, verdict in pairs if verdict.label != today.UNSURE]
    results = [(label == verdict.label, verdict.confidence) for label, verdict in decided]
    for low, high, c in edges:
        right = [is_right for is_right, confidence in results if low <= confidence < high]
        rows.append(f"| near {c:g} | {len(right)} | {np.mean(right):.3f} |" if right else f"| near {c:g} | 0 | |")
    for c in CONFIDENCES:
        right = [is_right for is_right, confidence in results if confidence >= c]
        rows.append(f"| {c:g} and more | {len(right)} | {np.mean(right):.3f} |")
    return ["| confidence | verdicts | right |", "|---|---|---|", *rows, "",
            f"{len(decided)} of {len(pairs)} runs were given a verdict."]


def share(verdicts, label, least=0.0):
    """Return how many verdicts have a label, with at least this confidence, as words."""
    return f"{sum(v.label == label and v.confidence >= least for v in verdicts)} of {len(verdicts)}"


def faults(judge):
    """Return the table of single faults."""
    rows = []
    for jitter in (0.0, 0.12, 0.24):
        wrong = [v for v in plateau(judge, 200, 8, jitter, 1) if v.label in (today.OVERSHOOTING, today.OVERFITTING)]
        rows.append((f"plateau, jitter {jitter:.0%} of the gain: 'overshooting' or 'overfitting'",
                     f"{len(wrong)} of 200", f"{sum(v.confidence >= 0.95 for v in wrong)} with confidence 0.95"))
    for evals in (8, 15, 31, 56):
        verdicts = plateau(judge, 60, evals, 0.06, 2)
        rows.append((f"plateau, jitter 6 %, {evals} evaluations: 'healthy'", share(verdicts, today.HEALTHY),
                     share(verdicts, today.HEALTHY, 0.95) + " with confidence 0.95"))
    rows.append(("gain of 0.9 % of the loss, healthy: undecided",
                 share(small_gain(judge, 60, 0.009, 0, 3), today.UNSURE), ""))
    verdicts = small_gain(judge, 60, 0.016, 0.2, 4)
    rows.append(("a fifth of a gain of 1.6 % lost: 'healthy'", share(verdicts, today.HEALTHY),
                 share(verdicts, today.OVERFITTING) + " 'overfitting'"))
    rows += [(name, f"{v.label}", f"{v.confidence:.2f}") for name, v in shapes(judge).items()]
    return ["| run | verdict | |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]


def cut_short_rows(judge, groups):
    """Return two sentences: what became of sure verdicts at half time, and of runs that still fell."""
    pairs = [(end, half) for end, half, _ in cut_short(judge, groups, 0.5) if half.label != today.UNSURE
             and half.confidence >= 0.95]
    held = sum(end.label == half.label for end, half in pairs)
    open_ = sum(end.label == today.UNSURE for end, _ in pairs)
    falling = [rose for _, late, rose in cut_short(judge, groups, 0.75) if late.still_improving]
    return [f"Of {len(pairs)} verdicts of 0.95 and more at half time {held} hold at the end, "
            f"{open_} are undecided then and {len(pairs) - held - open_} contradicted.",
            f"Of {len(falling)} runs that 'still fall' at three quarters {sum(falling)} rose at the next evaluation."]


def main():
    """Print every table for the judge that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="judge with diagnose.py and findings.py of this commit")
    parser.add_argument("--runs", type=int, default=2000, help="simulated runs of the population")
    options = parser.parse_args()
    judge = judge_at(options.before) if options.before else today
    groups = [runs for runs in configurations() if len(runs) > 1]
    for title, rows in (("Single faults", lambda: faults(judge)),
                        ("Simulated population", lambda: coverage(population(judge, options.runs, 7))),
                        (f"Recorded runs of {len(groups)} designs, judged on half of their pictures, "
                         "against the design's other seeds on the other half",
                         lambda: coverage(other_half(judge, groups))),
                         ("Recorded runs cut short", lambda: cut_short_rows(judge, groups))):
        print(f"{title}:\n", *rows(), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
