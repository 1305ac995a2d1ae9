"""Whole runs on one machine: many clients, the same rounds as deployed.

``simulate`` takes a scenario to a run folder; ``load_reward`` rebuilds its model.
"""

from fedpref.simulation.reward import Reward, load_reward
from fedpref.simulation.run import Result, resume, simulate

__all__ = ["Result", "Reward", "load_reward", "resume", "simulate"]
