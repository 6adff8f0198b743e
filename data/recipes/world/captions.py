"""Captions of the world, and every word they can hold.

A caption always names the kind of place and its main attributes; which further ones, and in which
phrasing, is drawn per picture. VOCABULARY is the one list the base's tokenizer is built from.
"""

import re

from recipes.world import liminal, ordinary, restyle
from recipes.world.draws import KINDS, draws

COLOUR_NAMES = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "white", "grey",
                "black")

# How a kind is called; every phrase holds the kind's own name.
NAMES = {
    "living room": ("living room", "cozy living room", "small living room"),
    "bedroom": ("bedroom", "quiet bedroom", "small bedroom"),
    "kitchen": ("kitchen", "tidy kitchen", "small kitchen"),
    "office": ("office", "home office", "quiet office"),
    "dining room": ("dining room", "tidy dining room", "family dining room"),
    "bathroom": ("bathroom", "clean bathroom", "small bathroom"),
    "library": ("library", "quiet library", "old library"),
    "cafe": ("cafe", "cozy cafe", "small cafe"),
    "corridor": ("endless hotel corridor", "empty hotel corridor", "long silent corridor"),
    "maze": ("endless yellow maze", "maze of empty yellow rooms", "silent yellow maze"),
    "pool": ("still indoor pool", "empty indoor pool", "silent indoor swimming pool"),
    "garage": ("deserted parking garage", "empty parking garage", "dark concrete parking garage"),
    "stairwell": ("endless stairwell", "deserted stairwell", "silent stairwell"),
    "waiting room": ("empty waiting room", "deserted waiting room", "silent waiting room"),
    "mall": ("deserted shopping mall", "empty mall", "abandoned shopping mall"),
    "platform": ("empty underground platform", "deserted subway platform", "silent underground platform"),
}

LIGHT = {
    "daylight": ("in daylight", "on a bright day", "in the morning"),
    "cloudy": ("on a cloudy day", "under a cloudy sky", "in soft light"),
    "sunset": ("at sunset", "in warm evening light", "in the evening"),
    "night": ("at night", "at night by lamp light", "lit by a lamp at night"),
    "fluorescent light": ("in fluorescent light", "under fluorescent lights"),
    "warm light": ("in warm light", "under warm lights"),
    "dim light": ("in dim light", "half in the dark under dim lights"),
    "murky light": ("in murky light", "under murky lights"),
    "pale fog": ("in pale fog", "full of pale fog"),
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


# How the main thing is said in a layout that has words of its own.
ARRANGED = {
    "facing sofas": "two {} facing each other", "two beds": "two {}", "rows": "rows of {}",
    "aisle": "an aisle between {}", "wall of books": "a wall of {}", "booths": "a row of {}",
    "two walls": "{} in a corner",
    "round table": "a round {}", "long table": "a long {}", "washbasins": "a long {} with mirrors",
}
WALLS = {"plain": "{} walls", "striped": "striped {} walls", "brick": "{} brick walls", "tiled": "{} tiled walls",
         "half tiled": "half tiled {} walls", "panelled": "panelled {} walls"}
HEIGHT = {"low": ("seen from a low angle",), "high": ("seen from above",), "level": ("at eye level",)}
PLURAL = ("sofas", "beds", "desks", "cabinets", "chairs", "stools", "bookshelves", "benches", "tables", "towels",
          "columns", "hanging lamps", "ceiling lights")


def one(noun, color=""):
    """A noun with its colour, and with an article unless it is plural."""
    phrase = f"{color} {noun}".strip()
    return phrase if noun in PLURAL else an(phrase)


def ordinary_extras(a):
    """Phrases for the further things in an ordinary room."""
    found = [one(a[field]) for field in ("third_object", "lamp") if a[field] != "none"]
    if a["plant"] != "none":
        found += [f"a plant on the {a['plant']}", "a potted plant"]
    if a["picture"] != "none":
        found.append(f"{an(a['picture'])} picture on the wall")
    if a["window"] != "none":
        found.append("a window" if a["window"] == "back" else f"a window on the {a['window']}")
    if a["curtains"] != "none":
        found.append(f"{a['curtains']} curtains")
    return found


def ordinary_caption(a, rng):
    """One caption of an ordinary room."""
    name, light = rng.choice(NAMES[a["kind"]]), rng.choice(LIGHT[a["light"]])
    main = one(a["main_object"], a["main_color"])
    if a["layout"] in ARRANGED and rng.random() < 0.6:
        main = ARRANGED[a["layout"]].format(f"{a['main_color']} {a['main_object']}")
    second = "" if a["second_object"] == "none" else one(a["second_object"], a["second_color"])
    both = f"{main} and {second}" if second else main
    walls = WALLS[a["walls"] if rng.random() < 0.7 else "plain"].format(a["wall_color"])
    floor, extras = an(a["floor"]), ordinary_extras(a)
    extra = f", {', '.join(rng.sample(extras, min(len(extras), rng.choice((1, 1, 2)))))}" if extras else ""
    seen = rng.choice((*VIEW[a["view"]], *HEIGHT[a["height"]]) if a["height"] != "level" else VIEW[a["view"]])
    view, opening = f", {seen}" if rng.random() < 0.35 else "", rng.choice(OPENINGS)
    return rng.choice((
        f"{opening}{an(name)} with {both}, {walls} and {floor}, {light}{view}",
        f"{opening}{an(name)} {light} with {walls}, {both}{extra}",
        f"{both} in {an(name)} with {walls}{extra}, {light}",
        f"{an(name)} with {walls} and {floor}, {both}{extra}",
        f"{name}, {main}{', ' + second if second else ''}, {walls}, {a['floor']}, {light}{view}",
        f"{opening}{an(name)} {light}, {walls}, {both}{extra}",
    ))


# How the layout of a liminal place is told; {} is the main colour.
TOLD = {
    "rows": "rows of {} chairs", "facing rows": "facing rows of {} chairs",
    "along the walls": "{} chairs along the walls",
    "escalators": "silent escalators", "fountain": "a fountain", "planters": "rows of planters",
    "side platform": "a track along the platform", "island platform": "tracks on both sides",
    "facing platforms": "tracks between facing platforms",
}


def liminal_features(a):
    """The main features of a liminal place, as phrases after 'with'."""
    main, second, wall, layout, floor = (a[k] for k in ("main_color", "second_color", "wall_color", "layout", "floor"))
    told = TOLD.get(layout, "").format(main)
    return {
        "corridor": (f"{main} doors, {wall} walls and {an(second)} {floor}",
                     f"{main} doors and a patterned {second} carpet between {layout} {wall} walls"),
        "maze": (f"{an(second)} carpet and {layout} under ceiling panels",
                 f"yellow walls, {layout} and {an(second)} carpet"),
        "pool": (f"{main} water, {second} {layout} and {wall} tiles",
                 f"{main} water between {second} {layout} and {wall} walls"),
        "garage": (f"{main} stripes on grey pillars and {second} lines",
                   f"a ramp, {main} stripes and {second} lines" if layout == "ramp" else
                   f"{layout} of pillars with {main} stripes, {second} lines"),
        "stairwell": (f"{main} railings, {second} stairs and {wall} walls, seen {layout}",
                      f"{second} stairs and {main} railings between {wall} walls, flights repeating {layout}"),
        "waiting room": (f"{told}, {an(second)} ticket desk and a clock",
                         f"{told}, {wall} walls, {an(second)} desk and {an(floor)}"),
        "mall": (f"{main} shutters, {second} columns, {wall} walls and {told}",
                 f"{told} between {second} columns, {main} shutters and {an(floor)}"),
        "platform": (f"{main} benches, {an(second)} line, {wall} tiles and {told}",
                     f"{told}, {an(second)} line and {main} benches under a vault of {wall} tiles"),
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


def styled(text, style, rng):
    """A caption with the style that the picture is drawn in; a drawing is no photo."""
    for opening in filter(None, OPENINGS):
        text = text.removeprefix(opening)
    return rng.choice((f"{style} drawing of {text}", f"{text}, {style} drawing", f"{text}, in {style} style"))


def caption(attributes, index):
    """The caption of the picture at an index."""
    kind = attributes["kind"]
    rng = draws("caption", kind, index)
    text = (ordinary_caption if kind in KINDS["ordinary"] else liminal_caption)(attributes, rng)
    return styled(text, attributes["style"], rng) if "style" in attributes else text


def words(text):
    """The words of a text, lower case."""
    return re.findall(r"[a-z]+", text.lower())


def _vocabulary():
    tables = [COLOUR_NAMES, NAMES, LIGHT, VIEW, HEIGHT, ARRANGED, WALLS, OPENINGS, MOOD, EXTRA_WORDS, KINDS,
              ordinary.FURNITURE, ordinary.STYLES, ordinary.FLOORS, ordinary.LIGHTS, liminal.PLACES, liminal.MOODS,
              TOLD, restyle.STYLE]
    found = set(words("a an and in on the with of under between from without end wall walls plant potted picture "
                      "window lamp floor hanging left right ceiling panels patterned carpet tiles stripes grey "
                      "pillars curtains lines stairs railings flights repeating seen columns water doors ramp ticket "
                      "clock vault empty drawing style"))
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
