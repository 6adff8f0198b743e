"""Convert a warm-up between the units of trainers and updates, in which the kit counts.

updates                 diffusers, SimpleTuner, ai-toolkit, kohya_ss
updates or share        kohya's sd-scripts: below 1 it is a share of all updates, as a text with % is
passes or share         OneTrainer: above 1 forward passes, so that accumulation divides them; up to 1 a share
"""


def in_updates(value: float | str, unit: str, total: int | None, accumulation: int) -> int | None:
    """Return the updates that a warm-up lasts; None where it is a share and the run's updates are not known.

    value: a number, or a text such as "5%".
    """
    share = float(value.rstrip("% ")) / 100 if isinstance(value, str) else None
    number = float(value) if share is None else 0.0
    if unit == "updates or share" and number < 1 or unit == "passes or share" and number <= 1:
        share = number if share is None else share
    if share is not None:
        return 0 if share <= 0 else None if total is None else int(share * total)
    return max(0, int(number / accumulation if unit == "passes or share" else number))


def in_unit(updates: int, unit: str, accumulation: int) -> float:
    """Return a warm-up of so many updates in a trainer's unit."""
    if unit == "passes or share" and updates * accumulation == 1:
        return 1.5                                            # 1 would be the whole run; 1.5 passes are cut to one
    return updates * accumulation if unit == "passes or share" else updates
