"""The held-out people: how well the run does on them, and beside what.

Simulation only: these numbers are read off held-out people directly and are not noised.
Baselines that are trained on the same people are further releases; they are made for
comparison and their epsilon is not part of the run's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedpref.adapter_sections import AdapterSection, LoraSection
from fedpref.core.entropy import Entropy
from fedpref.core.types import Float, Noise
from fedpref.errors import InputError
from fedpref.evaluate import baselines
from fedpref.evaluate.metrics import Evaluation, difference, evaluate
from fedpref.models.reward import RewardModel
from fedpref.report.verdict import ADAPTER_AND_HEAD, HEAD_ONLY
from fedpref.sections import Baseline
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup, build_model, with_adapter
from fedpref.simulation.training import train
from fedpref.transport import in_process

NOTES = (
    "simulation only: held-out people are read directly, without noise",
    "baselines that were trained on the same people are further releases; publishing "
    "them too would add their epsilons to the run's",
)


@dataclass
class _Table:
    """What ends up in ``evaluation.json``, collected row by row."""

    heldout: Evaluation
    baselines: dict[str, Any]
    comparisons: list[dict[str, Any]]
    omitted: dict[str, str]
    notes: list[str]


def compare(
    setup: Setup, model: Float, *, entropy: Entropy, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Evaluate ``model`` and every baseline of the scenario: ``evaluation.json``.

    Args:
        setup: The run.
        model: The released vector.
        entropy: For the baselines that are trained with noise.
        tell: Called with the name of each baseline before it starts.
    """
    heldout = setup.split.heldout
    table = _Table(evaluate(_scorer(setup.model, model), heldout), {}, [], {}, [])
    for name in setup.scenario.evaluate.baselines:
        tell(name)
        try:
            _ROWS[name](setup, model, entropy, table)
        except InputError as error:
            table.omitted[name] = str(error)
    return {
        "clients": {"train": len(setup.split.train), "heldout": len(heldout)},
        "heldout": table.heldout.to_json(),
        "baselines": table.baselines,
        "comparisons": table.comparisons,
        "omitted": table.omitted,
        "notes": [*NOTES, *table.notes, *setup.dataset.notes],
    }


def heldout_accuracy(setup: Setup, model: Float) -> float:
    """Share of held-out pairs that ``model`` gets right. Simulation only."""
    return evaluate(_scorer(setup.model, model), setup.split.heldout).accuracy


def _scorer(model: RewardModel, vector: Float) -> Callable[[Sequence[str]], Float]:
    def score(texts: Sequence[str]) -> Float:
        model.set(vector)
        return model.scores(texts)

    return score


def _frozen_features(setup: Setup) -> Callable[[Sequence[str]], Float]:
    """What a linear head reads when no adapter has been trained."""
    return build_model(setup.base, setup.features, None).features


def _add(table: _Table, name: str, row: baselines.Baseline) -> None:
    table.baselines[name] = row.to_json()


def _untrained(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    _add(table, "untrained", baselines.untrained(setup.split.heldout))


def _position(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    _add(table, "position", baselines.position(setup.split.train, setup.split.heldout))


def _attributes(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    if not setup.dataset.attributes:
        raise InputError("this source has texts only, no table of attributes")
    split = setup.split
    row = baselines.attributes(setup.dataset.attributes, split.train, split.heldout)
    _add(table, "one-hot attributes, non-private", row)


def _central(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    split = setup.split
    row = baselines.central(_frozen_features(setup), split.train, split.heldout)
    _add(table, "central head, non-private", row)


def _own_answers(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    rows = baselines.own_answers(
        _frozen_features(setup), _scorer(setup.model, model), setup.split.heldout
    )
    name, rest = "own answers only", rows.own.subset
    _add(table, name, rows.own)
    table.baselines[f"this run, {rest}"] = rows.own.to_json() | {
        **{k: rows.pooled.to_json()[k] for k in _MEASURES},
        "note": "the model under test on the answers that own answers are tested on",
        "private": setup.plan.noise_multiplier is not None,
        "epsilon": setup.scenario.privacy.target_epsilon or math.inf,
    }
    table.comparisons.append(rows.difference.to_json(f"this run, {rest}", name))
    if rows.left_out:
        table.notes.append(
            f"{name}: held-out people with too few answers to test on: {rows.left_out}"
        )


def _head_only(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    _trained(HEAD_ONLY, None, setup, entropy, table)


def _adapter(setup: Setup, model: Float, entropy: Entropy, table: _Table) -> None:
    adapter = setup.scenario.model.adapter or LoraSection()
    _trained(ADAPTER_AND_HEAD, adapter, setup, entropy, table)


def _trained(
    name: str,
    adapter: AdapterSection | None,
    setup: Setup,
    entropy: Entropy,
    table: _Table,
) -> None:
    """The same plan with another adapter; the run itself is not trained again."""
    epsilon = setup.scenario.privacy.target_epsilon
    if adapter == setup.scenario.model.adapter:
        evaluation, note = table.heldout, "this run"
    else:
        other = with_adapter(readable(setup), adapter)
        done = train(
            other, entropy=entropy, carry=in_process.carry, journal=NoJournal()
        )
        score = _scorer(other.model, done.state.released)
        evaluation = evaluate(score, setup.split.heldout)
        note = "trained like the run, with its own noise"
        gap = difference(table.heldout, evaluation)
        table.comparisons.append(gap.to_json("this run", name))
    private = setup.plan.spec.noise is not Noise.NONE
    cost = epsilon if epsilon is not None else math.inf
    _add(table, name, baselines.Baseline(evaluation, note, private, cost))


def readable(setup: Setup) -> Setup:
    """The same plan summed without masks: the same integers, and much faster.

    Nobody is lost on the way, or a finished run could fail for its comparison.
    """
    secagg = setup.scenario.secagg.model_copy(update={"mode": "sum"})
    cohort = setup.scenario.cohort.model_copy(update={"dropout": 0.0})
    changed = {"secagg": secagg, "cohort": cohort}
    return replace(setup, scenario=setup.scenario.model_copy(update=changed))


_MEASURES = ("accuracy", "ci95", "choice_accuracy", "log_loss", "ece", "users")
_Row = Callable[[Setup, Float, Entropy, _Table], None]
_ROWS: Mapping[Baseline, _Row] = {
    "untrained": _untrained,
    "position": _position,
    "attributes": _attributes,
    "central": _central,
    "own_answers": _own_answers,
    "head_only": _head_only,
    "adapter_and_head": _adapter,
}
