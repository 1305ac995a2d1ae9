"""Devices that fall silent in the middle of a round. For simulations only."""

from fractions import Fraction

from fedpref.core.entropy import Entropy, uniform_words
from fedpref.errors import MessageError
from fedpref.secagg import wire
from fedpref.secagg.messages import INVITATION
from fedpref.secagg.wire import Kind
from fedpref.transport.in_process import Endpoint, Notes

_LEGS = (
    Kind.DESCRIPTOR,
    Kind.ADVERTS,
    Kind.DELIVERY,
    Kind.SURVIVORS,
    Kind.AGREEMENTS,
)


class Unreliable:
    """An endpoint that is lost in each round with some probability, at a random leg.

    Args:
        endpoint: The device.
        number: Its number.
        rate: Chance to be lost in a round; it is back for the next one.
        entropy: Source of the loss, which depends on nothing else.
    """

    def __init__(self, endpoint: Endpoint, number: int, rate: float, entropy: Entropy):
        self._endpoint = endpoint
        self._number = number
        self._border = int(Fraction(rate) * 2**64)
        self._entropy = entropy
        self._rounds = 0
        self._lost_at: Kind | None = None
        self._lost = False

    def __call__(self, request: bytes) -> bytes:
        """The device's reply, unless it is lost; then MessageError."""
        kind = None if request[3:4] == bytes([INVITATION]) else wire.kind_of(request)
        if kind in (None, Kind.DESCRIPTOR):
            self._draw()
            if kind is None:  # one leg only
                self._lost = self._lost_at is not None
        self._lost = self._lost or (kind is not None and kind is self._lost_at)
        if self._lost:
            raise MessageError("this device is lost for the rest of the round")
        return self._endpoint(request)

    @property
    def notes(self) -> Notes:
        """What the device has noted."""
        return getattr(self._endpoint, "notes", ())

    @notes.setter
    def notes(self, notes: Notes) -> None:
        if hasattr(self._endpoint, "notes"):
            self._endpoint.notes = notes

    def _draw(self) -> None:
        self._rounds += 1
        key = self._entropy.key(f"dropout/{self._rounds}/{self._number}")
        chance, leg = (int(word) for word in uniform_words(2, key=key))
        self._lost = False
        self._lost_at = _LEGS[leg % len(_LEGS)] if chance < self._border else None
