"""The chapter's arithmetic of batches and epochs, worked out again and counted with a real data loader."""

from typing import NamedTuple

from labkit.design import volume
from labkit.errors import LabError
from labkit.view.tables import Table

PICTURES = 5000                                               # of the chapter's worked example


class Count(NamedTuple):
    """Hold what a data loader gave."""

    updates: int
    exposures: int
    skipped: int                                              # pictures that no epoch gave


def count(n_images: int, batch_size: int, epochs: int = 1, *, drop_last: bool = False) -> Count:
    """Run torch's DataLoader over n_images pictures and count the batches and pictures it gives."""
    from torch.utils.data import DataLoader

    loader = DataLoader(range(n_images), batch_size, drop_last=drop_last, collate_fn=list)
    batches = [batch for _ in range(epochs) for batch in loader]
    return Count(len(batches), sum(map(len, batches)), n_images - len({picture for batch in batches for picture in batch}))


def worked_examples() -> Table:
    """Return one row for each number of the chapter: what it says, its formula, what is really so, what a data loader gave.

    The chapter leaves a last batch that is not full out (drop_last); a DataLoader keeps it unless told otherwise.
    """
    drop, keep, small = (count(PICTURES, batch, 10, drop_last=dropped) for batch, dropped in ((32, True), (32, False), (4, True)))
    one, five = (count(PICTURES, 32, epochs, drop_last=True) for epochs in (1, 5))
    more = count(PICTURES, 4, 80)
    sums = [volume.volume(PICTURES, train_batch_size=batch, num_train_epochs=epochs, learning_rate=batch * 1e-5).lr_sum
            for batch, epochs in ((32, 10), (4, 10), (4, 80))]
    thousand = count(1000, 4, 10)
    rows = [
        ("1,000 pictures × 10 epochs = 10,000 exposures", "pictures × epochs", f"{1000 * 10:,}", f"{thousand.exposures:,} exposures", "holds"),
        ("5,000 pictures by 32: 156 updates an epoch, 4,992 pictures", "pictures / batch, rounded down",
         f"{volume.updates(PICTURES, 32, 1, last_batch='drop')} where the last batch is dropped, {volume.updates(PICTURES, 32, 1, last_batch='keep')} where it is kept",
         f"{one.updates} updates, {one.exposures:,} pictures, {one.skipped} left out", "holds if the last batch is dropped"),
        ("5 epochs: 24,960 exposures, about 5 views each", "batch × updates an epoch × epochs", f"{volume.exposures(5 * 156, 32):,}",
         f"{five.exposures:,} exposures, {five.exposures / PICTURES:.2f} views", "holds"),
        ("10 epochs: about 10 views each", "batch × updates / pictures", f"{volume.views(1560, 32, PICTURES):.2f}",
         f"{drop.exposures:,} exposures, {drop.exposures / PICTURES:.2f} views", "holds"),
        ("total examples = batch × examples an epoch × epochs", f"gives {32 * PICTURES * 10:,} for batch 32, 10 epochs",
         f"examples an epoch × epochs = {PICTURES * 10:,}", f"{keep.exposures:,} exposures", f"wrong: {32 * PICTURES * 10 / keep.exposures:.0f} times as many, the batch"),
        ("updates = examples an epoch × epochs", f"gives {PICTURES * 10:,} for batch 32, 10 epochs",
         f"pictures / batch, rounded up, × epochs = {volume.updates(PICTURES, 32, 10, last_batch='keep'):,}", f"{keep.updates:,} updates",
         f"wrong: {PICTURES * 10 / keep.updates:.0f} times as many, the batch"),
        ("batch 32, 10 epochs: 1,560 updates", "156 × 10", f"{volume.updates(PICTURES, 32, 10, last_batch='drop'):,}, or {volume.updates(PICTURES, 32, 10, last_batch='keep'):,} with the last batches",
         f"{drop.updates:,} or {keep.updates:,} updates", "holds, and refutes the row above"),
        ("batch 4, 10 epochs: 12,500 updates, 8 times more on the same data", "1,250 × 10", f"{volume.updates(PICTURES, 4, 10):,}, {12500 / 1560:.2f} times as many",
         f"{small.updates:,} updates, {small.exposures:,} exposures against {drop.exposures:,}", "holds: 8 times as many"),
        ("batch 4 instead of 32: use 8 times the epochs", "10 × 32 / 4 = 80 epochs", "8 times as many updates come with the same epochs already",
         f"{more.updates:,} updates, {more.updates / drop.updates:.0f} times as many; {more.exposures / drop.exposures:.0f} times the exposures", "contradicts the row above"),
        ("scale the rate with the batch, the epochs against it", "both at once", f"sum of the rate: {sums[1] / sums[0]:.2f} times by the rate alone, {sums[2] / sums[0]:.2f} times by both",
         "", "compensates twice"),
        ("50,000 to 200,000 updates for typical models", "with 5,000 pictures", f"{volume.epochs_for(50_000, 32, PICTURES)} to {volume.epochs_for(200_000, 32, PICTURES):,} epochs "
         f"at batch 32, {volume.epochs_for(50_000, 4, PICTURES)} to {volume.epochs_for(200_000, 4, PICTURES)} at batch 4",
         f"{keep.updates // 10} updates an epoch at batch 32", "contradicts its own 5 to 50 epochs"),
    ]
    return Table(["the chapter says", "by the formula", "what it is", "counted with a DataLoader", ""], rows)


def planner(n_images: int, *designs) -> Table:
    """Return one row for each plan (a mapping of fields of a run): what it comes to, or why it is impossible and what to do.

    n_images   training pictures there are; a plan may use fewer, as n_train
    """
    rows = []
    for design in designs:
        if not isinstance(design, dict):
            raise LabError(f"{design!r} is not a plan: give fields of a run, such as {{'train_batch_size': 4, 'num_train_epochs': 10}}.")
        words = ", ".join(f"{name} {value}" for name, value in design.items())
        try:
            found = volume.volume(n_images, **design)
            rows.append([words, found.pictures, found.batch, f"{found.updates:,}", f"{found.epochs:,.3g}", f"{found.exposures:,}", f"{found.lr_sum:.3g}", ""])
        except LabError as error:
            rows.append([words, *[""] * 6, str(error)])
    return Table(["plan", "pictures", "batch of an update", "updates", "epochs = views of each", "pictures shown", "sum of the rate", "impossible, because"], rows)
