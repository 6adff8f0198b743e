"""The YAML of a design: fields, texts, numbers and lists; aliases, tags and deep nesting are refused.

No design needs these. PyYAML's safe loader runs no code, but an alias lets a kilobyte stand for gigabytes, nesting
ends in a RecursionError, and a tag that does not fit its value in a KeyError, an IndexError or an AttributeError. A
number of thousands of digits ends in advice to programmers, or in an OverflowError where it is written in base 60.
"""

from typing import Any, NoReturn

import yaml

from labkit.files.json_text import MOST_DIGITS

DEEPEST = 16                                                  # levels; a design has three
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class DesignLoader(yaml.SafeLoader):
    """Load YAML whose value is never larger than its text."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse what a design does not need, with the line where it stands."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self._refuse(f"the alias *{event.anchor} stands for a value", "Write the value out", event)
        if getattr(event, "tag", None) is not None:
            self._refuse(f"the tag {event.tag.replace('tag:yaml.org,2002:', '!!')} is given", "Leave tags out", event)
        if isinstance(event, yaml.ScalarEvent) and any("\ud800" <= letter <= "\udfff" for letter in event.value):
            self._refuse("it has half a character (\\ud800 to \\udfff alone)", "Write the character itself", event)
        if self.depth >= DEEPEST:
            self._refuse("it is nested too deeply", "Write one field a line", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node.tag in NUMBERS and len(node.value) > MOST_DIGITS:
            self._refuse(f"a number of {len(node.value):,} digits", f"Write one of at most {MOST_DIGITS}", event)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a name given twice in one mapping: YAML would silently take the last."""
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(names) < len(node.value):
            self._refuse("a name is no text", "Write 'name: value'", node)
        known: set[str] = set()
        for name in names:
            if name in known:
                self._refuse(f"it gives {name} twice", "Keep one of them", node)
            known.add(name)
        return node

    def _refuse(self, problem: str, remedy: str, place: Any) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, note=remedy, problem_mark=place.start_mark)


def parse(text: str) -> Any:
    """Return the value of a YAML text.

    yaml.MarkedYAMLError where it is not such YAML, ValueError for a number or a date that does not exist.
    """
    loader = DesignLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
