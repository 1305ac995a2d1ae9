"""Who holds whose shares."""

from itertools import product

from fedpref.secagg.graph import holders_of
from fedpref.secagg.legs import Advert


def advert(i, *outgoing):
    return Advert(i, bytes(32), bytes(32), bytes(32), bytes(96), outgoing)


def test_everybody_on_the_complete_graph() -> None:
    adverts = {i: advert(i) for i in (2, 5, 9)}
    assert holders_of(5, adverts, 0) == (2, 5, 9)


def test_both_directions_of_a_drawn_graph() -> None:
    adverts = {1: advert(1, 2), 2: advert(2, 3), 3: advert(3, 5), 4: advert(4, 2)}
    assert holders_of(1, adverts, 1) == (1, 2)
    assert holders_of(2, adverts, 1) == (1, 2, 3, 4)
    assert holders_of(3, adverts, 1) == (2, 3)  # 5 has not advertised
    assert holders_of(4, adverts, 1) == (2, 4)
    for one, other in product(adverts, repeat=2):
        here, there = holders_of(one, adverts, 1), holders_of(other, adverts, 1)
        assert (other in here) == (one in there)
