"""Cases of designs: YAML, JSON and share strings that somebody altered."""

from urllib.parse import quote

from mutations import bytes_damaged, json_damaged, lines_damaged, value_damaged

from labkit.design import config, design_file


def design_yaml(folder):
    design = config.RunConfig(learning_rate=1e-4, rank=16, lr_edits=((100, 3e-5),)).resolved(38)
    text = design_file.design_text(design, {"rank": "far"}, {"scaling": 1.0})

    def case(draw):
        (folder / "design.yaml").write_bytes(lines_damaged(text, draw))
        return config.load_design(folder / "design.yaml")

    return case


def design_json(folder):
    values = config.RunConfig(learning_rate=1e-4).resolved(38).to_dict()
    values |= {"reasons": {"rank": "far"}, "expected": {"scaling": 1.0}}

    def case(draw):
        (folder / "design.json").write_bytes(json_damaged(values, draw))
        return config.load_design(folder / "design.json")

    return case


def share(folder):
    whole = config.RunConfig(learning_rate=1e-4, rank=16, data="own/pictures", lr_edits=((100, 3e-5),))

    def case(draw):
        if draw.random() < 0.3:                               # what was altered does not fit the checksum
            altered = bytes_damaged(whole.share()[5:].encode(), draw)[:100_000]
            return config.load_design(config.SHARE_PREFIX + altered.decode(errors="surrogateescape"))
        value = value_damaged({"rank": "16", "data": "own", "seed": "3", "lr_edits": "100:3e-5"}, draw)
        values = value if isinstance(value, dict) else {draw.choice(("rank", "alpha", "seed")): value}
        pairs = {as_utf8(name): as_utf8(item) for name, item in values.items()}
        words = [quote(word, safe="").replace("~", "%7E") for pair in pairs.items() for word in pair]
        return config.load_design(config.SHARE_PREFIX + "~".join([*words, config._checksum(pairs)]))

    return case


def as_utf8(value) -> str:
    """Return a value as text that UTF-8 can hold."""
    return str(value).encode(errors="replace").decode()
