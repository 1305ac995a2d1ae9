"""Every error that fedpref raises on purpose, in one tree.

    FedprefError                1    a fault of ours
    ├── InputError              2    what was given cannot be used as it is
    │   ├── RecordError              malformed lines of a record file, all of them
    │   ├── ScenarioError            problems of a scenario, all of them
    │   ├── ObjectiveError           an objective that cannot be used this way
    │   └── PlanError                settings that no privacy plan can satisfy
    │       └── UnsupportedEvent     a release for which we have no bound
    ├── BudgetError             3    a release that does not fit under its cap
    │   └── FloorError               a plan that asks more than a device's owner allows
    ├── IntegrityError          4    a hash, checkpoint or message is not what it says
    │   └── MessageError             a wire message, malformed, stale or oversized
    ├── AuditError              5    an attack reaches more than the claim allows
    ├── SetupError              6    the machine lacks something
    │   ├── AssetMissing             a model or data file has not been fetched
    │   ├── OutputError              a folder that cannot be written
    │   └── TooFewSurvivors          a round without enough devices; nothing released
    └── Interrupted           130    stopped by the user; the run can be resumed

The number is the exit code of the command line. Messages say ``name = value``, the
bound, and the next step. They never contain a person's text, answer or gradient.
"""

from collections.abc import Sequence


class FedprefError(Exception):
    """Root of the tree; on its own, a fault of ours."""

    exit_code = 1


class InputError(FedprefError):
    """What was given cannot be used as it is."""

    exit_code = 2


class RecordError(InputError):
    """Malformed lines of a record file: every one, with its number and reason."""

    def __init__(self, source: str, problems: Sequence[tuple[int, str]]):
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(f"  line {number}: {why}" for number, why in self.problems)
        count = f"{len(self.problems)} bad line" + "s" * (len(self.problems) != 1)
        super().__init__(f"{source}: {count}\n{lines}")


class ScenarioError(InputError):
    """Problems of a scenario: every one, with the key it concerns."""

    def __init__(self, source: str, problems: Sequence[str]):
        self.source = source
        self.problems = tuple(problems)
        super().__init__(f"{source}:\n" + "\n".join(f"  {p}" for p in self.problems))


class ObjectiveError(InputError):
    """An objective that does not exist, or that cannot be used this way."""


class PlanError(InputError):
    """Settings that no privacy plan can satisfy."""


class UnsupportedEvent(PlanError):
    """A release for which we have no bound; it is refused, never guessed."""


class BudgetError(FedprefError):
    """A release that does not fit under its cap; nobody was asked, nothing revealed."""

    exit_code = 3


class FloorError(BudgetError):
    """A plan that asks for more than the owner of a device allows; nothing was sent."""


class IntegrityError(FedprefError):
    """A hash, a checkpoint or a message is not what it says it is."""

    exit_code = 4


class MessageError(IntegrityError):
    """A wire message that is malformed, stale or oversized."""


class AuditError(FedprefError):
    """An attack reaches more than the claimed privacy allows, at 95 % confidence."""

    exit_code = 5


class SetupError(FedprefError):
    """The machine lacks something that the command needs."""

    exit_code = 6


class AssetMissing(SetupError):
    """A model or data file has not been fetched; the message names the command."""


class OutputError(SetupError):
    """A folder that cannot be written, or a disk that is full."""


class TooFewSurvivors(SetupError):
    """A round to which too few devices contributed; it released nothing."""


class Interrupted(FedprefError):
    """Stopped by the user. What was finished is kept and the run can be resumed."""

    exit_code = 130
