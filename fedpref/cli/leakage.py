"""Membership attacks on the populations of a study, beside its curves.

Guarantees: what is attacked is made by the code of the study, with its constants and
plan, from people of the first seed's training side; each price is that of the plan. An
attack above it ends the command (exit code 5).

Does not give: the leak of the very models in the table. Each attacked model is made
from a random half of the pool, and a smaller pool leaks more where there is no noise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedpref.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from fedpref.audit.claim import Claim
    from fedpref.audit.membership import Leakage
    from fedpref.core.types import Float
    from fedpref.data.dataset import Dataset
    from fedpref.study.answers import Answers
    from fedpref.study.exposed import Exposed
    from fedpref.study.population import Shape
    from fedpref.study.settings import Settings

PEOPLE = 300
SHAPES = {
    "population": "WEIGHTS",
    "eb_public": "WEIGHTS",
    "eb_moment": "MOMENT",
    "low_rank": "BASIS",
    "clusters": "PROTOTYPES",
}
"""The release behind a model. Attributes release what words do, of other features."""

Tell = Callable[[str], None]


def leakage(
    dataset: "Dataset",
    names: Sequence[str],
    epsilons: Sequence[float],
    *,
    models: int,
    people: int = PEOPLE,
    test: "Dataset | None" = None,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Attack the release behind each model at each epsilon; JSON types.

    Args:
        dataset: of the study.
        names: models of the study; those that rest on no release are passed over.
        epsilons: totals per person.
        models: made and attacked for each release and epsilon.
        people: most in the pool, chosen by a hash of their names; 0 takes all.
        test: of the study; then everybody of ``dataset`` learns.
        tell: is told what is going on.

    Raises:
        AuditError: An attack reaches more than the plan claims.
        InputError: Too few models or people.
    """
    from fedpref.core.entropy import SeededEntropy
    from fedpref.study.cases import cases, material
    from fedpref.study.exposed import Exposed
    from fedpref.study.population import Shape
    from fedpref.study.settings import settings_of

    if people < 0:
        raise InputError(f"people = {people}, must be 0 (all) or more")
    settings = settings_of(dataset.name)
    case = next(cases(material(dataset, test, settings.directions), 1))
    pool = _pool(case.train.words, people)
    entropy = SeededEntropy(case.number("leakage"))
    directions: dict[Shape, Float] = {}
    done: dict[tuple[Shape, float], dict[str, Any]] = {}
    found: dict[str, Any] = {}
    for name, epsilon in _cells(names, epsilons):
        shape = _shape(name, epsilon, settings)
        if (shape, epsilon) not in done:
            tell(f"membership: {shape.value}, epsilon {epsilon:g}")
            exposed = Exposed(pool, settings, epsilon, shape)
            if shape not in directions:
                directions[shape] = exposed.influence()
            done[shape, epsilon] = _attacked(
                exposed, directions[shape], models, entropy
            )
        found.setdefault(name, {})[f"{epsilon:g}"] = done[shape, epsilon]
    return found


def table(found: Mapping[str, Any]) -> "Table":
    """For a terminal: the attack to be quoted, and what the plan allows."""
    from rich.table import Table

    drawn = Table(
        title="membership of a person, from what is released (95 %)",
        title_justify="left",
    )
    for name in ("release", "epsilon"):
        drawn.add_column(name)
    for name in ("AUC", "allowed", "TPR at FPR 1 %", "allowed"):
        drawn.add_column(name, justify="right")
    for row in _rows(found):
        drawn.add_row(*row)
    return drawn


def _rows(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """Models that share a release share a row."""
    shown: set[tuple[str, str]] = set()
    for by_epsilon in found.values():
        for epsilon, cell in by_epsilon.items():
            if (cell["release"], epsilon) in shown:
                continue
            shown.add((cell["release"], epsilon))
            low, high = cell["ci95"]
            least, most = (100 * end for end in cell["tpr_ci95"])
            yield [
                cell["release"],
                epsilon,
                f"{cell['auc']:.3f} ({low:.3f}-{high:.3f})",
                f"{cell['allowed']['auc']:.3f}",
                f"{100 * cell['tpr_at_1pct_fpr']:.1f} % ({least:.1f}-{most:.1f})",
                f"{100 * cell['allowed']['tpr_at_1pct_fpr']:.1f} %",
            ]


def _cells(
    names: Sequence[str], epsilons: Sequence[float]
) -> Iterator[tuple[str, float]]:
    return ((name, e) for name in names if name in SHAPES for e in epsilons)


def _shape(name: str, epsilon: float, settings: "Settings") -> "Shape":
    """What is released: below some epsilon no second moment is."""
    from fedpref.study.population import Shape

    shape = Shape[SHAPES[name]]
    few = shape is Shape.MOMENT and epsilon < settings.moment_from
    return Shape.WEIGHTS if few else shape


def _pool(answers: "Answers", most: int) -> "Answers":
    """At most so many people with answers, the first by a hash of their names."""
    from hashlib import sha256

    import numpy as np

    from fedpref.study.answers import only

    able = [n for n, count in enumerate(answers.counts) if count]
    able.sort(key=lambda n: sha256(f"leakage:{answers.people[n]}".encode()).digest())
    kept = np.sort(np.array(able[: most or None], dtype=np.int64))
    number = np.full(len(answers.people), -1)
    number[kept] = np.arange(len(kept))
    own = only(answers, number[answers.user] >= 0)
    names = tuple(answers.people[person] for person in kept)
    return replace(own, user=number[own.user], people=names)


def _attacked(
    exposed: "Exposed", influence: "Float", models: int, entropy: Any
) -> dict[str, Any]:
    """One cell; refused where the attack is above the plan's claim."""
    import numpy as np

    from fedpref.audit.claim import Claim
    from fedpref.audit.membership import attack

    answers = exposed.answers
    everybody = np.ones(len(answers.people), dtype=bool)
    population = exposed.population(everybody, entropy)
    claim = Claim(population.epsilon, population.plan.delta)
    found = attack(
        exposed.release,
        exposed.likelihood,
        influence,
        answers.counts,
        models=models,
        entropy=entropy,
    )
    for name, reached in found.all.items():
        claim.require(reached, name=f"{exposed.shape.value}, attack by {name}")
    return _cell(exposed.shape.value, found, claim)


def _cell(release: str, found: "Leakage", claim: "Claim") -> dict[str, Any]:
    def entry(name: str) -> dict[str, Any]:
        reached = found.all[name]
        return {
            "auc": reached.auc,
            "ci95": list(reached.auc_ci95),
            "tpr_at_1pct_fpr": reached.tpr,
            "tpr_ci95": list(reached.tpr_ci95),
        }

    return {
        "release": release,
        "attack": "joint",
        **entry("joint"),
        "allowed": {
            "auc": min(claim.auc, claim.gaussian_auc),
            "tpr_at_1pct_fpr": min(claim.tpr(), claim.gaussian_tpr()),
            "auc_by_epsilon_alone": claim.auc,
            "tpr_by_epsilon_alone": claim.tpr(),
        },
        "other_attacks": {name: entry(name) for name in found.all if name != "joint"},
        "people": found.people,
        "models": found.models,
    }
