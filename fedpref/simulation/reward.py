"""A trained reward model out of a run folder: texts in, scores out."""

from collections.abc import Sequence
from pathlib import Path

from fedpref.core.types import Float, Record
from fedpref.data import assets
from fedpref.errors import InputError
from fedpref.faults import guarded
from fedpref.models import saved
from fedpref.models.reward import RewardModel


class Reward:
    """Scores texts with a trained model; higher means people would rather have it.

    Scores are comparable with one another only, in units of log-odds between options.
    """

    def __init__(self, model: RewardModel, offset: Float | None = None):
        self._model = model
        self._offset = offset

    @guarded
    def score(self, texts: Sequence[str]) -> list[float]:
        """One score a text; with an owner's offset where there is one."""
        scores = self._model.scores(list(texts))
        if self._offset is not None:
            scores = scores + self._model.features(list(texts)) @ self._offset
        return [float(value) for value in scores]

    def margins(self, record: Record) -> list[float]:
        """Score of each option of ``record`` minus the mean over its options."""
        scores = self.score(record.texts)
        mean = sum(scores) / len(scores)
        return [score - mean for score in scores]


@guarded
def load_reward(run: str | Path) -> Reward:
    """The reward model that a run has trained.

    Args:
        run: A run folder.

    Raises:
        InputError: There is no finished run in it.
        AssetMissing: Its frozen base has not been fetched.
        IntegrityError: Its files are damaged.
    """
    return Reward(load_model(Path(run)))


def load_model(run: Path) -> RewardModel:
    """The trained model itself; errors as for :func:`load_reward`."""
    if not (run / "model.json").is_file():
        raise InputError(
            f"{run}: no trained model in it; finish the run with "
            f"fedpref simulate --resume {run}"
        )
    return saved.load(run, assets.locate(saved.base_of(run)))
