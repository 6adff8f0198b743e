"""How each kind of ordinary room is arranged: three layouts a kind.

Each function places the main and the second thing, and what goes with them, in a room. x runs across from the
middle, z from the back wall towards the camera; the left wall is the side wall that the camera sees.
"""

from recipes.world.homes import (
                                 bed_at_the_back,
                                 bed_at_the_side,
                                 corner_sofa,
                                 facing_sofas,
                                 island,
                                 long_dining,
                                 one_wall,
                                 round_dining,
                                 single_sofa,
                                 two_beds,
                                 two_walls,
                                 wide_dining,
)
from recipes.world.venues import (
                                 aisle,
                                 cafe_booths,
                                 cafe_counter,
                                 cafe_rows,
                                 desk_at_the_side,
                                 desk_at_the_wall,
                                 reading_room,
                                 rows_of_desks,
                                 tub_at_the_back,
                                 tub_at_the_side,
                                 wall_of_books,
                                 washbasins,
)

LAYOUTS = {
    "living room": {"single sofa": single_sofa, "facing sofas": facing_sofas, "corner": corner_sofa},
    "bedroom": {"bed at the back": bed_at_the_back, "bed at the side": bed_at_the_side, "two beds": two_beds},
    "kitchen": {"one wall": one_wall, "two walls": two_walls, "island": island},
    "office": {"desk at the wall": desk_at_the_wall, "desk at the side": desk_at_the_side, "rows": rows_of_desks},
    "dining room": {"round table": round_dining, "long table": long_dining, "wide table": wide_dining},
    "bathroom": {"tub at the back": tub_at_the_back, "tub at the side": tub_at_the_side, "washbasins": washbasins},
    "library": {"wall of books": wall_of_books, "aisle": aisle, "reading room": reading_room},
    "cafe": {"counter": cafe_counter, "rows": cafe_rows, "booths": cafe_booths},
}
