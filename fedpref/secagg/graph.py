"""Who holds whose shares in a round, from the adverts of that round."""

from collections.abc import Mapping

from fedpref.secagg.legs import Advert


def holders_of(
    member: int, adverts: Mapping[int, Advert], neighbours: int
) -> tuple[int, ...]:
    """The member itself and its neighbours among those who advertised, rising.

    Args:
        member: A device that advertised.
        adverts: U0 by device number, rising.
        neighbours: 0 for the complete graph; otherwise two devices are neighbours if
            either of them has drawn the other.
    """
    if not neighbours:
        return tuple(adverts)
    drawn = set(adverts[member].outgoing)
    return tuple(
        other
        for other, advert in adverts.items()
        if other == member or other in drawn or member in advert.outgoing
    )
