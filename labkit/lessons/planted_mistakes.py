"""Six mistakes that every trainer lets pass, planted in a design on purpose.

Does the checklist find them before the first update?
"""

import json

from labkit.design import volume
from labkit.design.config import load_design
from labkit.design.design_file import split
from labkit.engine.adapters import LoRAStack
from labkit.errors import LabError
from labkit.experiments.preflight import foreign_adapter, on_paper
from labkit.view.tables import Table


def planted(config, expected) -> dict[str, tuple[dict, dict]]:
    """Return {mistake: (fields that it changes, what the design then expects)}.

    config      the resolved design
    expected    of `expectations`; LabError where short_test_rate, scaling or num_train_epochs is missing
    """
    n, batch, epochs = config.n_train, config.effective_batch_size, expected.get("num_train_epochs")
    if not epochs or not expected.get("scaling") or not expected.get("short_test_rate"):
        raise LabError("A mistake can be told from an intention only where the design says what it expects: "
                       "give short_test_rate, scaling and num_train_epochs.")
    fewer = n if n % batch else n - 1  # with whole batches only, drop_last loses nothing
    updates = volume.updates(fewer, batch, epochs, last_batch="drop")
    return {
        "the rate is off by ten": ({"learning_rate": 10 * config.learning_rate}, {}),
        "alpha holds the intended scaling": ({"alpha": expected["scaling"]}, {}),
        "use_rslora is flipped": ({"use_rslora": not config.use_rslora}, {}),
        "the last pictures of every epoch are dropped": (
            {"n_train": fewer, "max_train_steps": updates}, {"n_train": fewer}),
        "updates are counted without the batch": ({"max_train_steps": int(n * epochs)}, {}),
    }


def caught(lab, config, expected) -> Table:
    """Return one row a mistake: what it changes, by what the checklist found it, and what it says."""
    config, rows = lab.config(config), []
    for mistake, (changes, intended) in planted(config, expected).items():
        notes = split({"expected": dict(expected) | intended})
        findings = on_paper(load_design(config.to_dict(), **changes).resolved(config.n_train), notes)
        written = ", ".join(f"{name}: {json.dumps(value)}" for name, value in changes.items())
        rows.append(_row(mistake, written, "the file", findings))
    stack = LoRAStack(lab.base.unet, [config])
    with lab.base.lock, stack.attached():
        finding = foreign_adapter(lab.base)
    rows.append(_row("an earlier adapter is left on", "nothing in the file", "the loaded base", [finding]))
    return Table(["planted", "what it changes", "found in", "by", "what to do"], rows)


def _row(mistake, changes, where, findings) -> list[str]:
    """Return a row with the first finding that is bad, or one that says there is none."""
    bad = next((finding for finding in findings if finding.state == "bad"), None)
    return [mistake, changes, where, bad.name, bad.remedy] if bad else [mistake, changes, "not found", "", ""]
