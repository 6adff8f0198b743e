"""Tables of judged runs for a notebook, as HTML that also reads well as plain text."""

import html
import math
from collections import Counter

from labkit.design import volume
from labkit.design.ladders import rung_text
from labkit.judge.arms import losses, nearest
from labkit.judge.diagnose import LABELS, diagnose
from labkit.judge.seed_spread import caution, recorded_noise
from labkit.judge.stats import LEVEL, paired_difference, seeds_difference, t_interval
from labkit.text import rate_text
from labkit.view.style import VERDICTS


class Table:
    """Hold rows of text under heads; a notebook shows it as a table, anything else as aligned text."""

    def __init__(self, heads, rows):
        self.heads, self.rows = list(heads), [[str(cell) for cell in row] for row in rows]

    def __repr__(self):
        widths = [max(len(cell) for cell in column) for column in zip(self.heads, *self.rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (self.heads, *self.rows)]
        return "\n".join(lines)

    def _repr_html_(self):
        def line(cells, tag):
            return "<tr>" + "".join(f"<{tag} style='text-align:left'>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        return f"<table><thead>{line(self.heads, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in self.rows)}</tbody></table>"


def table(runs, *names) -> Table:
    """Return one row a run: what differs (`names`, the rate by default), how far the rate reached in all, the change of the held-out loss, the verdict."""
    names, runs, rows = names or ("learning_rate",), list(runs), []
    for run in runs:
        verdict, held = diagnose(run, runs), run.validations["validation"]
        rows.append([*(rung_text(name, getattr(run.config, name)) for name in names), f"{volume.lr_sum(run.config):.3g}", loss(held.means[0]), change(held),
                     f"{VERDICTS[verdict.label][0]} {verdict.label}", "" if verdict.since_step is None else f"step {verdict.since_step:,}", f"{verdict.confidence:.2f}"])
    return Table([*(name.replace("_", " ") for name in names), "sum of the rate", "held-out loss before", "change (95 % interval)", "verdict", "since", "confidence"], rows)


def loss(value) -> str:
    """Write a loss."""
    return f"{value:.3f}" if math.isfinite(value) else "not finite"


def change(curve) -> str:
    """Write the change of a curve from its start to its end, paired over pictures."""
    difference = paired_difference(curve.losses[-1], curve.losses[0])
    if not math.isfinite(difference.mean):
        return "not finite"
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def lowest(runs, share=1.0) -> list:
    """Return the run whose held-out loss is lowest at the evaluation nearest to a share of the updates, then those that cannot be told from it.

    Of runs of one seed each, seeds count as far as a recorded set tells how far they lie apart.
    """
    def then(history):
        return losses(history, nearest(history, share))

    best = min(runs, key=lambda history: found if math.isfinite(found := then(history).mean()) else math.inf)
    noise, level = recorded_noise(best, share=share), 1 - (1 - LEVEL) / max(len(runs) - 1, 1)
    apart = ((run, seeds_difference(then(run), then(best), noise, level)) for run in runs if run is not best)
    return [best, *(run for run, above in apart if above.low <= 0)]


def predictions(runs, at_the_end=None, after_a_tenth=None) -> str:
    """Compare predicted rates with the race's, and say what one seed cannot show; no answer is not wrong."""
    lines = []
    for words, guess, share in (("at the end", at_the_end, 1.0), ("after a tenth of the updates", after_a_tenth, 0.1)):
        found, *rivals = (run.config.learning_rate for run in lowest(runs, share))
        beside = f" (within noise also {', '.join(map(rate_text, sorted(rivals)))})" if rivals else ""
        fits = guess is not None and any(math.isclose(float(guess), rate) for rate in (found, *rivals))
        said = "" if guess is None else f" You said {rate_text(float(guess))}" + (": yes." if math.isclose(float(guess), found) else ", which these runs cannot rule out." if fits else ".")
        lines.append(f"Lowest {words}: {rate_text(found)}{beside}.{said}")
    return "\n".join([*lines, caution(runs[0])])


def stability(histories, name="learning_rate") -> Table:
    """Return one row a value: how many of its seeds got each verdict, and the final held-out loss with its interval over seeds."""
    histories, groups = list(histories), {}
    for history in histories:
        groups.setdefault(getattr(history.config, name), []).append(history)
    rows = []
    for value, runs in sorted(groups.items()):
        siblings = {seed: [other for other in histories if other.config.seed == seed] for seed in {run.config.seed for run in runs}}
        labels = Counter(diagnose(run, siblings[run.config.seed]).label for run in runs)
        final = t_interval([run.validations["validation"].means[-1] for run in runs])
        ends = f"{final.mean:.3f} ({final.low:.3f} to {final.high:.3f})" if math.isfinite(final.mean) else "not finite"
        rows.append([rung_text(name, value), len(runs), ends, ", ".join(f"{labels[label]} × {label}" for label in LABELS if labels[label])])
    return Table([name.replace("_", " "), "seeds", "final held-out loss (95 % interval over seeds)", "verdicts"], rows)
