"""The loop of a study: learn together, reveal k own answers, predict the rest.

Guarantees: who is predicted has no part in what was learned; a model's row at an
epsilon uses one population whose releases cost that epsilon together; every model
predicts the same answers of the same people, at every epsilon and k.

Does not give: privacy to these people. Seeds make a study reproducible, so its noise
protects nobody; accuracies are published as they are. Each row is a plan of its own: a
deployment makes one of them, not all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedpref.data.dataset import Dataset
from fedpref.errors import InputError
from fedpref.study import contenders, remarks, result
from fedpref.study.answers import Kind, Revealed
from fedpref.study.cases import Case, Material, cases, material
from fedpref.study.contenders import WORDS, Learned
from fedpref.study.measure import Measured, measure
from fedpref.study.models import Model
from fedpref.study.settings import Settings, settings_of

Tell = Callable[[str], None]
Found = dict[tuple[str, str, int], list[tuple[int, Measured]]]
"""Measurements with their seed, by model, epsilon and k."""

NOT_PRIVATE = (
    "seeded: reproducible and NOT private; the epsilons are those of a run with fresh "
    "randomness of the operating system"
)


@dataclass(frozen=True)
class Ask:
    """What a curve is asked for.

    Args:
        models: Names out of ``contenders.WORDS``.
        epsilons: Totals per person; infinite without noise.
        ks: Own answers revealed, ascending; empty for those of the set.
        seeds: How many.
        draws: Of which answers are revealed, for each seed; 0 for those of the set.

    Raises:
        InputError: A value that makes no sense.
    """

    models: tuple[str, ...] = tuple(WORDS)
    epsilons: tuple[float, ...] = (float("inf"), 1.0)
    ks: tuple[int, ...] = ()
    seeds: int = 5
    draws: int = 0

    def __post_init__(self) -> None:
        contenders.check(self.models)
        if not self.models or not self.epsilons:
            raise InputError("models and epsilons: at least one of each is needed")
        for epsilon in self.epsilons:
            if not epsilon > 0:
                raise InputError(f"epsilon = {epsilon:g}, must be above 0, or inf")
        for k in self.ks:
            if k < 0:
                raise InputError(f"k = {k}, must be 0 or more own answers")
        if self.seeds < 1 or self.draws < 0:
            raise InputError(
                f"seeds = {self.seeds}, draws = {self.draws}: at least one seed is "
                "needed, and draws are 1 or more"
            )


def curve(
    dataset: Dataset,
    ask: Ask,
    *,
    test: Dataset | None = None,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Every model's accuracy against k, at every epsilon, as JSON types.

    Args:
        dataset: Whose people learn together; some of them are held out to be predicted
            unless ``test`` is given.
        ask: Models, epsilons and ks.
        test: Whose people are predicted instead.
        tell: Is told what is going on.

    Raises:
        InputError: The set cannot be studied, or nobody has more answers than the
            largest k.
    """
    settings = settings_of(dataset.name)
    ks = tuple(sorted(set(ask.ks or settings.ks)))
    tell(f"{dataset.name}: features of {len(dataset.catalogue):,} public texts")
    source = material(dataset, test, settings.directions)
    names, notes = remarks.possible(ask.models, ask.epsilons, source)
    found: Found = {}
    released: dict[str, dict[str, Any]] = {}
    people: dict[str, list[int]] = {"train": [], "predicted": [], "short": []}
    notes += dataset.notes
    for case in cases(source, ask.seeds):
        learned = Learned(case, settings)
        short = _run(case, learned, names, ask, ks, found, tell)
        people["train"].append(len(case.train.words.people))
        people["predicted"].append(len(case.test.words.people) - short)
        people["short"].append(short)
        if case.seed == 1:
            released = remarks.released(learned, names, ask.epsilons)
            notes += remarks.about(case, source, names, ks, short)
    tell(f"{dataset.name}: intervals")
    return {
        "set": dataset.name,
        "users": sum(counts[0] for counts in people.values()),
        "people": people,
        "k": list(ks),
        "seeds": ask.seeds,
        "draws": _draws(ask, settings),
        "measure": _measure(case.test.words.kind),
        "models": _cells(found, source),
        "gain_over_population": _gains(found, "population"),
        "words_minus_attributes": _words_minus_attributes(found),
        "released": released,
        "dropped": dict(dataset.dropped),
        "notes": [*dict.fromkeys(notes), NOT_PRIVATE],
    }


def key_of(epsilon: float) -> str:
    """How JSON names an epsilon: ``"inf"``, ``"1"``, ``"0.5"``."""
    return f"{epsilon:g}"


def _run(
    case: Case,
    learned: Learned,
    names: Sequence[str],
    ask: Ask,
    ks: tuple[int, ...],
    found: Found,
    tell: Tell,
) -> int:
    """Measure every model of one case; how many people had too few answers."""
    draws = [case.draw(ks, number) for number in range(_draws(ask, learned.settings))]
    for name in names:
        for epsilon in ask.epsilons:
            tell(f"seed {case.seed} of {ask.seeds}: {name}, epsilon {epsilon:g}")
            model, attributes = learned.model(name, epsilon, ks)
            if model is None:
                continue
            for draw in draws:
                seen = contenders.seen_by(draw, case, attributes)
                for k, measured in _measured(name, model, seen, ks):
                    entry = found.setdefault((name, key_of(epsilon), k), [])
                    entry.append((case.seed, measured))
    return draws[0].short


def _measured(
    name: str, model: Model, seen: Revealed, ks: tuple[int, ...]
) -> Iterator[tuple[int, Measured]]:
    """One measurement a k; one for all of them where own answers change nothing."""
    if name == "population":
        same = measure(seen.asked, model.predict(seen[ks[0]], seen.asked))
        yield from ((k, same) for k in ks)
        return
    for k in ks:
        yield k, measure(seen.asked, model.predict(seen[k], seen.asked))


def _cells(found: Found, source: Material) -> dict[str, Any]:
    """The entries by model, epsilon and k; equal measurements are summed up once."""
    cells: dict[str, Any] = {}
    done: dict[tuple[int, ...], dict[str, Any]] = {}
    for (name, epsilon, k), entry in found.items():
        ids = tuple(id(measured) for _, measured in entry)
        if ids not in done:
            done[ids] = result.cell(entry, source.groups)
        cells.setdefault(name, {}).setdefault(epsilon, {})[str(k)] = done[ids]
    return cells


def _gains(found: Found, base: str) -> dict[str, Any]:
    """Accuracy minus that of the pooled weights at the same epsilon, paired."""
    gains: dict[str, Any] = {}
    for (name, epsilon, k), entry in found.items():
        if name != base and (base, epsilon, k) in found:
            gained = result.gain(entry, found[base, epsilon, k])
            gains.setdefault(name, {}).setdefault(epsilon, {})[str(k)] = gained
    return gains


def _words_minus_attributes(found: Found) -> dict[str, Any]:
    """``eb_moment`` on words minus the same on attributes, paired."""
    gaps: dict[str, Any] = {}
    for (name, epsilon, k), entry in found.items():
        if name == "eb_moment" and ("attributes", epsilon, k) in found:
            gap = result.gain(entry, found["attributes", epsilon, k])
            gaps.setdefault(epsilon, {})[str(k)] = gap
    return gaps


def _draws(ask: Ask, settings: Settings) -> int:
    return ask.draws or settings.draws


def _measure(kind: Kind) -> str:
    if kind is Kind.RATING:
        return "approve or reject at 50; pair_accuracy beside it"
    return "pairs: the chosen option against another one of its menu"
