"""Captions of the world, and every word they can hold.

A caption always names the kind of place and its main attributes; which further ones, and in which
phrasing, is drawn per picture. VOCABULARY is the one list the base's tokenizer is built from.
"""

import re

from chance import KINDS, draws

COLOUR_NAMES = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "white", "grey", "black")

# How a kind is called; every phrase holds the kind's own name.
NAMES = {
    "living room": ("living room", "cozy living room", "small living room"),
    "bedroom": ("bedroom", "quiet bedroom", "small bedroom"),
    "kitchen": ("kitchen", "tidy kitchen", "small kitchen"),
    "office": ("office", "home office", "quiet office"),
    "dining room": ("dining room", "tidy dining room", "small dining room"),
    "corridor": ("endless hotel corridor", "empty hotel corridor", "long silent corridor"),
    "maze": ("endless yellow maze", "maze of empty yellow rooms", "silent yellow maze"),
    "pool": ("still indoor pool", "empty indoor pool", "silent indoor swimming pool"),
    "garage": ("deserted parking garage", "empty parking garage", "dark concrete parking garage"),
    "stairwell": ("endless stairwell", "deserted stairwell", "silent stairwell"),
}

LIGHT = {
    "daylight": ("in daylight", "on a bright day", "in the morning"),
    "sunset": ("at sunset", "in warm evening light", "in the evening"),
    "night": ("at night", "at night by lamp light", "lit by a lamp at night"),
    "fluorescent light": ("in fluorescent light", "under fluorescent lights"),
    "warm light": ("in warm light", "under warm lights"),
    "dim light": ("in dim light", "half in the dark under dim lights"),
}

VIEW = {"left": ("seen from the left",), "right": ("seen from the right",), "front": ("seen from the front",)}
OPENINGS = ("", "", "a photo of ", "a picture of ", "interior of ")
MOOD = ("nobody in sight", "light from nowhere", "repeating without end", "no way out", "strangely familiar")

# Words that people try although no caption holds them.
EXTRA_WORDS = """
    abandoned above all ancient apartment arch at attic backrooms bar bathroom beige below big bookshelf bright
    building cafe car cat ceiling chair clean cold couch cream curtain dark deep desk dog door dream dusk empty eerie
    entrance fog from forest furniture gold hall hallway hospital hotel house huge image in indoor into inside lamp
    large level library light liminal lobby lonely long lost luminous mall many mirror modern mood narrow near neon
    nobody not nothing of office old on one painting pale people person place pillar places plain quiet rain render
    restaurant room rooms round school scene shop silver simple single sitting sky sks sofa soft some space spaces
    square stairs station still strange style subway table the tall this tile to tower tunnel two under underground
    unreal vacant very view vintage violet waiting wall warm water wet wide window winter with wood without world yard
""".split()


def an(phrase):
    """A phrase with its indefinite article."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def ordinary_extras(a):
    """Phrases for the further things in an ordinary room."""
    found = []
    if a["plant"] != "none":
        found += [f"a plant on the {a['plant']}", "a potted plant"]
    if a["picture"] != "none":
        found.append(f"{an(a['picture'])} picture on the wall")
    if a["window"] != "none":
        found.append("a window" if a["window"] == "back" else f"a window on the {a['window']}")
    if a["lamp"] != "none":
        found.append(an(a["lamp"]))
    return found


def ordinary_caption(a, rng):
    """One caption of an ordinary room."""
    name, main = rng.choice(NAMES[a["kind"]]), f"{a['main_color']} {a['main_object']}"
    main = main if a["main_object"] == "cabinets" else an(main)
    walls, floor = f"{a['wall_color']} walls", an(a["floor"])
    light = rng.choice(LIGHT[a["light"]])
    second = "" if a["second_object"] == "none" else f"{a['second_color']} {a['second_object']}"
    if second and a["second_object"] != "chairs":
        second = an(second)
    both = f"{main} and {second}" if second else main
    extras = ordinary_extras(a)
    extra = f" and {rng.choice(extras)}" if extras and rng.random() < 0.5 else ""
    view = f", {VIEW[a['view']][0]}" if rng.random() < 0.3 else ""
    opening = rng.choice(OPENINGS)
    return rng.choice((
        f"{opening}{an(name)} with {both}, {walls} and {floor}, {light}{view}",
        f"{opening}{an(name)} {light} with {walls}, {both}{extra}{view}",
        f"{both} in {an(name)} with {walls}{extra}, {light}{view}",
        f"{an(name)} with {walls} and {floor}, {both}, {light}",
        f"{name}, {main}{', ' + second if second else ''}, {walls}, {a['floor']}, {light}{view}",
        f"{opening}{an(name)} {light}, {walls}, {floor}, {both}{extra}",
    ))


def liminal_features(a):
    """The main features of a liminal place, as a phrase after 'with'."""
    main, second, wall = a["main_color"], a["second_color"], a["wall_color"]
    rows = a["layout"]
    return {
        "corridor": (f"{main} doors, {wall} walls and {an(second)} {a['floor']}",
                     f"{main} doors and a patterned {second} carpet between {wall} walls"),
        "maze": (f"{an(second)} carpet and {rows} under ceiling panels",
                 f"yellow walls, {rows} and {an(second)} carpet"),
        "pool": (f"{main} water, {second} columns and {wall} tiles",
                 f"{main} water between {second} {rows} and {wall} walls"),
        "garage": (f"{main} stripes on grey pillars and {second} lines",
                   f"{rows} of pillars with {main} stripes, {second} lines"),
        "stairwell": (f"{main} railings, {second} stairs and {wall} walls, seen {rows}",
                      f"{second} stairs and {main} railings between {wall} walls, flights repeating {rows}"),
    }[a["kind"]]


def liminal_caption(a, rng):
    """One caption of a liminal place."""
    name, light = rng.choice(NAMES[a["kind"]]), rng.choice(LIGHT[a["light"]])
    features, mood = rng.choice(liminal_features(a)), rng.choice(MOOD)
    opening = rng.choice(OPENINGS)
    return rng.choice((
        f"{opening}{an(name)} with {features}, {light}",
        f"{opening}{an(name)} {light} with {features}, {mood}",
        f"{an(name)} with {features}",
        f"{an(name)}, {mood}, with {features}, {light}",
        f"{name}, {features}, {light}, {mood}",
    ))


def caption(attributes, index):
    """The caption of the picture at an index."""
    kind = attributes["kind"]
    rng = draws("caption", kind, index)
    return (ordinary_caption if kind in KINDS["ordinary"] else liminal_caption)(attributes, rng)


def words(text):
    """The words of a text, lower case."""
    return re.findall(r"[a-z]+", text.lower())


def _vocabulary():
    import ordinary
    import liminal
    tables = [COLOUR_NAMES, NAMES, LIGHT, VIEW, OPENINGS, MOOD, EXTRA_WORDS, KINDS, ordinary.FURNITURE,
              ordinary.FLOORS, ordinary.LIGHTS, liminal.PLACES, liminal.MOODS]
    found = set(words("a an and in on the with of under between from without end wall walls plant potted picture "
                      "window lamp floor hanging left right ceiling panels patterned carpet tiles stripes grey pillars "
                      "lines stairs railings flights repeating seen columns water doors"))
    while tables:
        entry = tables.pop()
        if isinstance(entry, str):
            found.update(words(entry))
        elif isinstance(entry, dict):
            tables += [*entry.keys(), *entry.values()]
        else:
            tables += [e for e in entry if not isinstance(e, float)]
    return sorted(found)


VOCABULARY = _vocabulary()
