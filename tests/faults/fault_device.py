"""One device of a case: what it has in memory, what it has saved, and how it crashes.

It answers with ``fedpref.secagg.client``. When it crashes it is gone for a while, and
goes on with the state that it saved last.
"""

import numpy as np
from fault_case import member

from fedpref.core.device import DeviceBook
from fedpref.errors import FedprefError
from fedpref.secagg import client
from fedpref.secagg.client import Surroundings
from fedpref.secagg.member import Device

LEAST_DOWN, MOST_DOWN = 1.0, 30.0


class Crash(BaseException):
    """Power is lost: no handler of the code under test may see this as an error."""


class Machine:
    """A device in a world."""

    def __init__(self, world, number: int, limit: int):
        self.world, self.number, self.up = world, number, True
        self.memory = self.durable = Device(DeviceBook(limit))
        self.member = member(number, world.n, world.terms)

    def receive(self, request: bytes, origin) -> None:
        """A request has arrived; the reply, if any, goes back over the network."""
        world, leg = self.world, origin.label
        if not self.up:
            world.found[f"request {leg} found nobody"] += 1
            return
        try:
            self._point(leg, "before it answered")
            if world.chance(world.faults.close):
                self._give_up(leg)
            reply, self.memory = client.answer(request, self.memory, self._around(leg))
            world.watch.leaves(self.number, reply)
            world.carry(
                *("reply", origin, ("from", self.number)),
                lambda: world.reply(self.number, reply, origin),
            )
            self._point(leg, "after it answered")
        except FedprefError:
            world.found[f"request {leg} refused"] += 1
        except Crash:
            self.up = False
            down = world.rng.uniform(LEAST_DOWN, MOST_DOWN)
            world.at(world.now + down, self._restart)
        except Exception as error:
            world.watch.violation("an error that is not ours", repr(error))
        for save in vars(client).pop("_later", ()):  # a mutation that saves too late
            save()

    def _give_up(self, leg: str) -> None:
        """Ended by hand; the tombstone may be seen by anybody from now on."""
        self.world.found[f"device gave up in {leg}"] += 1
        save = self._around(leg).save
        tombstone, self.memory = client.close(self.memory, self.member, save)
        self.world.watch.gave_up(self.number, tombstone)

    def _restart(self) -> None:
        self.up, self.memory = True, self.durable
        self.world.watch.restarted(self.number)

    def _around(self, leg: str) -> Surroundings:
        def save(after: Device) -> None:
            self._point(leg, "before it saved")
            before, self.durable = self.durable, after
            self.world.watch.saved(self.number, before, after)
            self._point(leg, "after it saved")

        now = int(self.world.now)
        return Surroundings(self.member, self._contribute, save, self.world.work, now)

    def _contribute(self, number: int, model) -> np.ndarray:
        """The number in one's own place, and noise that is fresh whenever asked for."""
        world, vector = self.world, np.zeros(self.world.coordinates, np.int64)
        vector[self.number - 1] = number
        vector[-2:] = [world.rng.randint(-2000, 2000) for _ in range(2)]
        world.watch.made(self.number, self.memory.session.rid, vector)
        return vector

    def _point(self, leg: str, where: str) -> None:
        if self.world.chance(self.world.faults.device):
            self.world.found[f"device crashed in {leg}"] += 1
            self.world.found[f"device crashed {where}"] += 1
            raise Crash
