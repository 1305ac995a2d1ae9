"""One person's device as a process of its own, behind a socket; see test_processes.py.

    python device_process.py SCENARIO IDENTITIES NUMBER SOCKET

Prints a line when it is ready, and answers until it is ended.
"""

import sys
from pathlib import Path

from fedpref import config
from fedpref.core.entropy import SeededEntropy
from fedpref.secagg.crypto import SharedWork
from fedpref.simulation.devices import contributions
from fedpref.simulation.elsewhere import member
from fedpref.simulation.setup import prepare
from fedpref.transport.in_process import SecureDevice
from fedpref.transport.local_socket import listening, serve


def main(scenario, identities, number, socket) -> None:
    """Build the device and listen."""
    setup = prepare(config.read(Path(scenario)))
    made = list(contributions(setup, SeededEntropy(setup.scenario.run.seed)).values())
    who = int(number)
    device = SecureDevice(
        member(Path(identities), who, setup.plan, setup.scenario.run.name),
        made[who - 1],
        limit=setup.plan.reserved_rounds,
        work=SharedWork(),
    )
    with listening(socket) as listener:
        print("ready", flush=True)
        serve(listener, device, fault=print)


if __name__ == "__main__":
    main(*sys.argv[1:])
