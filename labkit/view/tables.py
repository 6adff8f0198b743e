"""Tables of judged runs for a notebook, as HTML that also reads well as plain text."""

import html
import math
from collections import Counter, defaultdict

import numpy as np

from labkit.design import volume
from labkit.design.ladders import rung_text
from labkit.judge.arms import losses, nearest, rise
from labkit.judge.diagnose import LABELS, diagnose
from labkit.judge.ranking import loss_name
from labkit.judge.score_text import short
from labkit.judge.seed_spread import caution, recorded_noise
from labkit.judge.stats import level_among, seeds_difference, t_interval
from labkit.text import loss_text as loss
from labkit.text import rate_text, with_interval
from labkit.view.style import VERDICTS

# Columns of a score: the head, whose prompts, and when.
SCORES = (("accepted before", "validation", "before"), ("accepted after", "validation", "after"),
          ("ordinary", "ordinary", "after"))


class Table:
    """Hold rows of text under heads; a notebook shows it as a table, anything else as aligned text."""

    def __init__(self, heads, rows, note=""):
        """Hold `heads` and as many cells in each of `rows`, all written as text. note: a sentence below."""
        self.heads, self.rows, self.note = list(heads), [[str(cell) for cell in row] for row in rows], note

    def __repr__(self):
        """Return the table in columns of text."""
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        written = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*written, self.note] if self.note else written)

    def _repr_html_(self):
        def line(cells, tag):
            written = (f"<{tag} style='text-align:left'>{html.escape(cell)}</{tag}>" for cell in cells)
            return f"<tr>{''.join(written)}</tr>"

        body = "".join(line(row, "td") for row in self.rows)
        note = f"<div>{html.escape(self.note)}</div>" if self.note else ""
        return f"<table><thead>{line(self.heads, 'th')}</thead><tbody>{body}</tbody></table>{note}"


def table(runs, *names) -> Table:
    """Return one row a run: what differs, the sum of the rates of all updates, the held-out loss, verdict and score.

    The score has columns where one of the runs has any, and a sentence where there can be none.

    names    fields that differ between the runs, the learning rate by default
    """
    names, runs, rows = names or ("learning_rate",), list(runs), []
    verdicts = {run.run_id: diagnose(run, runs) for run in runs}
    columns = [column for column in SCORES if any(short(each.score, *column[1:]) for each in verdicts.values())]
    why = next((each.score["none"]["why"] for each in verdicts.values() if "none" in each.score), None)
    for run in runs:
        verdict, held = verdicts[run.run_id], run.validations["validation"]
        settings = [rung_text(name, getattr(run.config, name)) for name in names]
        since = "" if verdict.since_step is None else f"step {verdict.since_step:,}"
        rows.append([*settings, f"{volume.lr_sum(run.config):.3g}", loss(held.means[0]), with_interval(rise(run, 0)),
                     f"{VERDICTS[verdict.label][0]} {verdict.label}", since, f"{verdict.confidence:.2f}",
                     *(short(verdict.score, *column[1:]) for column in columns)])
    return Table([*(name.replace("_", " ") for name in names), "sum of the rate", f"{loss_name(runs)} before",
                  "change (95 % interval)", "verdict", "since", "confidence", *(column[0] for column in columns)],
                 rows, f"No score: {why}." if why else "")


def lowest(runs, share=1.0) -> list:
    """Return the run with the lowest held-out loss, then those that cannot be told from it.

    Runs are compared at the evaluation nearest to a share of the updates. Of runs of one seed each, seeds count as far
    as a recorded set tells how far they lie apart.
    """
    def then(run):
        return losses(run, -1 if share == 1 else nearest(run, share))    # the end of a run that broke is infinite

    best = min(runs, key=lambda run: then(run).mean())
    noise, level = recorded_noise(best, share=share), level_among(len(runs) - 1)
    apart = [(run, seeds_difference(then(run), then(best), noise, level)) for run in runs if run is not best]
    return [best, *(run for run, above in apart if above.low <= 0)]


def predictions(runs, at_the_end=None, after_a_tenth=None) -> str:
    """Compare predicted rates with the race's, and say what one seed cannot show; no answer is not wrong."""
    lines = []
    for words, guess, share in (("at the end", at_the_end, 1.0), ("after a tenth of the updates", after_a_tenth, 0.1)):
        best, *rivals = (run.config.learning_rate for run in lowest(runs, share))
        beside = f" (within noise also {', '.join(map(rate_text, sorted(rivals)))})" if rivals else ""
        lines.append(f"Lowest {words}: {rate_text(best)}{beside}.{_guess_text(guess, best, rivals)}")
    return "\n".join([*lines, caution(runs[0])])


def _guess_text(guess, best, rivals) -> str:
    """Write whether a predicted rate was the best or noise cannot tell it from that; nothing for no prediction."""
    if guess is None:
        return ""
    guess = float(guess)
    if math.isclose(guess, best):
        return f" You said {rate_text(guess)}: yes."
    if any(math.isclose(guess, rate) for rate in rivals):
        return f" You said {rate_text(guess)}, which these runs cannot rule out."
    return f" You said {rate_text(guess)}."


def stability(runs, name="learning_rate") -> Table:
    """Return one row a value: its seeds, the final held-out loss over seeds, and how many got each verdict."""
    by_value, by_seed = defaultdict(list), defaultdict(list)
    for run in runs:
        by_value[getattr(run.config, name)].append(run)
        by_seed[run.config.seed].append(run)
    rows = []
    for value, group in sorted(by_value.items()):
        counts = Counter(diagnose(run, by_seed[run.config.seed]).label for run in group)
        final = np.array([losses(run).mean() for run in group])
        ends = "{:.3f} ({:.3f} to {:.3f})".format(*t_interval(final)) if np.isfinite(final).all() else "not finite"
        verdicts = ", ".join(f"{counts[label]} × {label}" for label in LABELS if counts[label])
        rows.append([rung_text(name, value), len(group), ends, verdicts])
    loss_head = f"final {loss_name(runs)} (95 % interval over seeds)"
    return Table([name.replace("_", " "), "seeds", loss_head, "verdicts"], rows)
