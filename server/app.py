"""Flower ``ServerApp`` entry point: one scenario over whatever grid it is given.

The run's configuration names two things, ``scenario`` (a TOML file on this machine) and
``out`` (the new run folder). The people of the scenario are simulated in this process;
their messages travel over the grid.
"""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedpref.simulation import simulate
from fedpref.transport.flower.apps import over_grid

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario that the configuration names."""
    config = context.run_config
    simulate(str(config["scenario"]), str(config["out"]), carry=over_grid(grid))
