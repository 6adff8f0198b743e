"""The table of tools/gpu_check.py, as markdown: one section a part, one line a row."""

TITLES = {"equality": "Equality", "races": "Races, beside the same runs recorded on a CPU",
          "speed": "Stable Diffusion 1.5's architecture"}


def table(results) -> str:
    """Return everything that is known as markdown.

    `results` maps a part to its end, seconds and rows, of which the first tells of the machine.
    """
    machine = next((result["rows"][0] for result in results.values() if result["rows"]), None)
    lines = ["# GPU check", ""]
    if machine:
        lines += [", ".join(f"{_words(name)} {_cell(value)}" if name != "what" else value
                            for name, value in machine.items()
                            if value is not None and name not in ("ok", "rehearsed")) + ".", ""]
        if machine["rehearsed"]:
            lines += ["A rehearsal at reduced width and length: nothing here tells the speed of a GPU.", ""]
    for part, result in results.items():
        lines += [f"## {TITLES.get(part, part)}", "", f"{result['end'].capitalize()} after {result['seconds']:.0f} s.",
                  ""]
        lines += [*_grid(result["rows"][1:]), ""]
    return "\n".join(lines)


def line(row) -> str:
    """Return one row as a line of text."""
    return ", ".join([("" if row["ok"] else "NOT OK: ") + row["what"],
                      *(f"{_words(name)} {_cell(value)}" for name, value in row.items() if name not in ("what", "ok")
                        and value is not None)])


def _grid(rows):
    """Return rows that may have different figures as the lines of one table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [_bar(map(_words, names)), _bar(["---"] * len(names)),
            *(_bar(_cell(row.get(name)) for name in names) for row in rows)] if rows else ["Nothing was measured."]


def _bar(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _words(name) -> str:
    return name.replace("_", " ").replace("gib", "GiB")


def _cell(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value).replace("|", "/").replace("\n", " ")
