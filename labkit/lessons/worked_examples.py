"""The chapter's arithmetic of batches and epochs, worked out again and counted with a real data loader."""

from typing import NamedTuple

from labkit.design import volume
from labkit.errors import LabError
from labkit.view.tables import Table

PICTURES = 5000  # of the chapter's worked example


class Count(NamedTuple):
    """Hold what a data loader gave."""

    updates: int
    exposures: int
    skipped: int  # pictures that no epoch gave


def count(n_images: int, batch_size: int, epochs: int = 1, *, drop_last: bool = False) -> Count:
    """Run torch's DataLoader over n_images pictures and count the batches and pictures it gives."""
    from torch.utils.data import DataLoader  # torch only where something is counted

    loader = DataLoader(range(n_images), batch_size, drop_last=drop_last, collate_fn=list)
    batches = [batch for _ in range(epochs) for batch in loader]
    seen = {picture for batch in batches for picture in batch}
    return Count(len(batches), sum(map(len, batches)), n_images - len(seen))


def worked_examples() -> Table:
    """Return one row for each number of the chapter: what it says, its formula, what is so, what a loader gave.

    The chapter leaves a last batch that is not full out (drop_last); a DataLoader keeps it unless told otherwise.
    """
    n = PICTURES
    dropping, keeping = count(n, 32, 10, drop_last=True), count(n, 32, 10)
    once, five_times = count(n, 32, 1, drop_last=True), count(n, 32, 5, drop_last=True)
    small, longer, thousand = count(n, 4, 10, drop_last=True), count(n, 4, 80), count(1000, 4, 10)
    drop, keep = (volume.updates(n, 32, 10, last_batch=last) for last in ("drop", "keep"))
    drop_once, keep_once = (volume.updates(n, 32, 1, last_batch=last) for last in ("drop", "keep"))
    rate_sum, scaled_rate_sum, both_sum = (
        volume.volume(n, train_batch_size=batch, num_train_epochs=epochs, learning_rate=batch * 1e-5).lr_sum
        for batch, epochs in ((32, 10), (4, 10), (4, 80)))
    rows = [
        ("1,000 pictures × 10 epochs = 10,000 exposures", "pictures × epochs",
         f"{1000 * 10:,}", f"{thousand.exposures:,} exposures", "holds"),
        ("5,000 pictures by 32: 156 updates an epoch, 4,992 pictures", "pictures / batch, rounded down",
         f"{drop_once} where the last batch is dropped, {keep_once} where it is kept",
         f"{once.updates} updates, {once.exposures:,} pictures, {once.skipped} left out",
         "holds if the last batch is dropped"),
        ("5 epochs: 24,960 exposures, about 5 views each", "batch × updates an epoch × epochs",
         f"{volume.exposures(5 * 156, 32):,}",
         f"{five_times.exposures:,} exposures, {five_times.exposures / n:.2f} views", "holds"),
        ("10 epochs: about 10 views each", "batch × updates / pictures", f"{volume.views(1560, 32, n):.2f}",
         f"{dropping.exposures:,} exposures, {dropping.exposures / n:.2f} views", "holds"),
        ("total examples = batch × examples an epoch × epochs", f"gives {32 * n * 10:,} for batch 32, 10 epochs",
         f"examples an epoch × epochs = {n * 10:,}", f"{keeping.exposures:,} exposures",
         f"wrong: {32 * n * 10 / keeping.exposures:.0f} times as many, the batch"),
        ("updates = examples an epoch × epochs", f"gives {n * 10:,} for batch 32, 10 epochs",
         f"pictures / batch, rounded up, × epochs = {keep:,}", f"{keeping.updates:,} updates",
         f"wrong: {n * 10 / keeping.updates:.0f} times as many, the batch"),
        ("batch 32, 10 epochs: 1,560 updates", "156 × 10", f"{drop:,}, or {keep:,} with the last batches",
         f"{dropping.updates:,} or {keeping.updates:,} updates", "holds, and refutes the row above"),
        ("batch 4, 10 epochs: 12,500 updates, 8 times more on the same data", "1,250 × 10",
         f"{volume.updates(n, 4, 10):,}, {12500 / 1560:.2f} times as many",
         f"{small.updates:,} updates, {small.exposures:,} exposures against {dropping.exposures:,}",
         "holds: 8 times as many"),
        ("batch 4 instead of 32: use 8 times the epochs", "10 × 32 / 4 = 80 epochs",
         "8 times as many updates come with the same epochs already",
         f"{longer.updates:,} updates, {longer.updates / dropping.updates:.0f} times as many; "
         f"{longer.exposures / dropping.exposures:.0f} times the exposures", "contradicts the row above"),
        ("scale the rate with the batch, the epochs against it", "both at once",
         f"sum of the rate: {scaled_rate_sum / rate_sum:.2f} times by the rate alone, "
         f"{both_sum / rate_sum:.2f} times by both", "", "compensates twice"),
        ("50,000 to 200,000 updates for typical models", "with 5,000 pictures",
         f"{volume.epochs_for(50_000, 32, n)} to {volume.epochs_for(200_000, 32, n):,} epochs at batch 32, "
         f"{volume.epochs_for(50_000, 4, n)} to {volume.epochs_for(200_000, 4, n)} at batch 4",
         f"{keeping.updates // 10} updates an epoch at batch 32", "contradicts its own 5 to 50 epochs"),
    ]
    return Table(["the chapter says", "by the formula", "what it is", "counted with a DataLoader", ""], rows)


def planner(n_images: int, *designs) -> Table:
    """Return one row for each plan: what it comes to, or why it is impossible and what to do.

    n_images    training pictures there are; a plan may use fewer, as n_train
    designs     mappings of fields of a run
    """
    rows = []
    for design in designs:
        if not isinstance(design, dict):
            raise LabError(f"{design!r} is not a plan: give fields of a run, such as "
                           "{'train_batch_size': 4, 'num_train_epochs': 10}.")
        words = ", ".join(f"{name} {value}" for name, value in design.items())
        try:
            plan = volume.volume(n_images, **design)
            rows.append([words, plan.pictures, plan.batch, f"{plan.updates:,}", f"{plan.epochs:,.3g}",
                         f"{plan.exposures:,}", f"{plan.lr_sum:.3g}", ""])
        except LabError as error:
            rows.append([words, *[""] * 6, str(error)])
    return Table(["plan", "pictures", "batch of an update", "updates", "epochs = views of each", "pictures shown",
                  "sum of the rate", "impossible, because"], rows)
