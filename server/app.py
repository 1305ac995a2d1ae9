"""Flower ``ServerApp`` entry point: one scenario over whatever grid it is given.

The run's configuration names, all on this machine:

    scenario     a TOML file
    out          the new run folder
    identities   folder with the server's key and the signed roster, where each person's
                 device is a process of its own behind a SuperNode; empty if all people
                 are simulated in this process, which a grid in this process needs
    wait         seconds that a leg waits for devices elsewhere
"""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedpref.simulation import simulate
from fedpref.simulation.elsewhere import Elsewhere
from fedpref.transport.flower.apps import over_grid
from fedpref.transport.flower.exchange import Wait
from fedpref.transport.flower.remote import remote

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario that the configuration names."""
    config = context.run_config
    carry = over_grid(grid)
    if identities := str(config.get("identities", "")):
        wait = Wait(seconds=float(config.get("wait", 600)))
        reach = remote(grid, wait=wait, introduction=wait)
        carry = Elsewhere(reach, Path(identities))
    simulate(str(config["scenario"]), str(config["out"]), carry=carry)
