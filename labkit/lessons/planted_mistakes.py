"""Six mistakes that every trainer lets pass, planted in a design on purpose: does the checklist find them before the first update?"""

import json

from labkit.design import volume
from labkit.design.config import load_design
from labkit.design.design_file import split
from labkit.engine.adapters import LoRAStack
from labkit.errors import LabError
from labkit.experiments.preflight import foreign_adapter, on_paper
from labkit.view.tables import Table


def planted(config, expected) -> dict[str, tuple[dict, dict]]:
    """Return {mistake: (fields that it changes, what the design expects)}; config: the resolved design; expected: of `expectations`."""
    n, batch, epochs = config.n_train, config.effective_batch_size, expected.get("num_train_epochs")
    if not epochs or not expected.get("scaling") or not expected.get("short_test_rate"):
        raise LabError("A mistake can be told from an intention only where the design says what it expects: give short_test_rate, scaling and num_train_epochs.")
    fewer = n if n % batch else n - 1                         # with whole batches only, drop_last loses nothing
    return {
        "the rate is off by ten": ({"learning_rate": 10 * config.learning_rate}, {}),
        "alpha holds the intended scaling": ({"alpha": expected["scaling"]}, {}),
        "use_rslora is flipped": ({"use_rslora": not config.use_rslora}, {}),
        "the last pictures of every epoch are dropped": (
            {"n_train": fewer, "max_train_steps": volume.updates(fewer, batch, epochs, last_batch="drop")}, {"n_train": fewer}),
        "updates are counted without the batch": ({"max_train_steps": int(n * epochs)}, {}),
    }


def caught(lab, config, expected) -> Table:
    """Return one row a mistake: what it changes, by what the checklist found it, and what it says."""
    config, rows = lab.config(config), []
    for mistake, (changes, intended) in planted(config, expected).items():
        said = split({"expected": dict(expected) | intended})
        found = [finding for finding in on_paper(load_design(config.to_dict(), **changes).resolved(config.n_train), said) if finding.state == "bad"]
        rows.append(_row(mistake, ", ".join(f"{name}: {json.dumps(value)}" for name, value in changes.items()), "the file", found))
    stack = LoRAStack(lab.base.unet, [config])
    with lab.base.lock, stack.attached():
        found = [finding for finding in [foreign_adapter(lab.base)] if finding.state == "bad"]
    return Table(["planted", "what it changes", "found in", "by", "what to do"], [*rows, _row("an earlier adapter is left on", "nothing in the file", "the loaded base", found)])


def _row(mistake, changes, where, found):
    if not found:
        return [mistake, changes, "not found", "", ""]
    return [mistake, changes, where, found[0].name, found[0].remedy]
