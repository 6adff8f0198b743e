"""Tables of judged runs for a notebook, as HTML that also reads well as plain text."""

import html
import math
from collections import Counter

from labkit import plan
from labkit.diagnose import LABELS, diagnose
from labkit.ladders import rung_text
from labkit.stats import interval_of, paired_difference
from labkit.style import VERDICTS, rate_text


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


def table(histories, *names) -> Table:
    """Return one row a run: what differs (`names`, the rate by default), how far the rate reached in all, the change of the held-out loss, the verdict."""
    names, histories, rows = names or ("learning_rate",), list(histories), []
    for history in histories:
        verdict, held = diagnose(history, histories), history.validations["validation"]
        rows.append([*(rung_text(name, getattr(history.config, name)) for name in names), f"{plan.lr_sum(history.config):.3g}", loss(held.means[0]), change(held),
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


def lowest(histories, share=1.0):
    """Return the run whose held-out loss is lowest at the evaluation nearest to a share of the updates."""
    def value(history):
        steps, means = history.validations["validation"].steps, history.validations["validation"].means
        at = min(range(len(steps)), key=lambda i: abs(steps[i] - share * history.config.max_train_steps))
        return means[at] if math.isfinite(means[at]) else math.inf

    return min(histories, key=value)


def predictions(histories, at_the_end=None, after_a_tenth=None) -> str:
    """Compare predicted rates with the race's; no answer is not wrong."""
    lines = []
    for words, guess, history in (("at the end", at_the_end, lowest(histories)), ("after a tenth of the updates", after_a_tenth, lowest(histories, 0.1))):
        found = history.config.learning_rate
        said = "" if guess is None else f" You said {rate_text(float(guess))}" + (": yes." if math.isclose(float(guess), found) else ".")
        lines.append(f"Lowest {words}: {rate_text(found)}.{said}")
    return "\n".join(lines)


def stability(histories, name="learning_rate") -> Table:
    """Return one row a value: how many of its seeds got each verdict, and the final held-out loss with its interval over seeds."""
    histories, groups = list(histories), {}
    for history in histories:
        groups.setdefault(getattr(history.config, name), []).append(history)
    rows = []
    for value, runs in sorted(groups.items()):
        siblings = {seed: [other for other in histories if other.config.seed == seed] for seed in {run.config.seed for run in runs}}
        labels = Counter(diagnose(run, siblings[run.config.seed]).label for run in runs)
        final = interval_of([run.validations["validation"].means[-1] for run in runs])
        ends = f"{final.mean:.3f} ({final.low:.3f} to {final.high:.3f})" if math.isfinite(final.mean) else "not finite"
        rows.append([rung_text(name, value), len(runs), ends, ", ".join(f"{labels[label]} × {label}" for label in LABELS if labels[label])])
    return Table([name.replace("_", " "), "seeds", "final held-out loss (95 % interval over seeds)", "verdicts"], rows)
