"""A trained reward model out of a run folder: texts in, scores out."""

from collections.abc import Sequence
from pathlib import Path

from fedpref.core.types import Record
from fedpref.data import assets
from fedpref.errors import InputError
from fedpref.models import saved
from fedpref.models.reward import RewardModel


class Reward:
    """Scores texts with a trained model; higher means people would rather have it.

    Scores are comparable with one another only, in units of log-odds between options.
    """

    def __init__(self, model: RewardModel):
        self._model = model

    def score(self, texts: Sequence[str]) -> list[float]:
        """One score a text."""
        return [float(value) for value in self._model.scores(list(texts))]

    def margins(self, record: Record) -> list[float]:
        """Score of each option of ``record`` minus the mean over its options."""
        scores = self.score(record.texts)
        mean = sum(scores) / len(scores)
        return [score - mean for score in scores]


def load_reward(run: str | Path) -> Reward:
    """The reward model that a run has trained.

    Args:
        run: A run folder.

    Raises:
        InputError: There is no finished run in it.
        AssetMissing: Its frozen base has not been fetched.
        IntegrityError: Its files are damaged.
    """
    path = Path(run)
    if not (path / "model.json").is_file():
        raise InputError(
            f"{path}: no trained model in it; finish the run with "
            f"fedpref simulate --resume {path}"
        )
    return Reward(saved.load(path, assets.locate(saved.base_of(path))))
