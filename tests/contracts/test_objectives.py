"""Every file in fedpref/objectives keeps the contract; new files are found by name."""

import inspect
from importlib import import_module

import pytest
import torch

from fedpref import objectives
from fedpref.core.types import Unit
from fedpref.errors import ObjectiveError

RECORDS, OPTIONS = 6, 3
SHAPES = {
    "scores": (RECORDS, OPTIONS),
    "policy": (RECORDS, OPTIONS),
    "reference": (RECORDS, OPTIONS),
    "mismatched": (RECORDS,),
}
SUPPORTED = {"scores", "policy", "reference", "mismatched", "choice", "group"}


def test_finds_the_objectives_of_the_main_job() -> None:
    assert {"bt", "plackett_luce"} <= set(objectives.names())


@pytest.fixture(params=objectives.names())
def objective(request):
    return objectives.load(request.param, {}, unit=Unit.USER)


def inputs(objective, seed: int = 0) -> dict[str, torch.Tensor]:
    assert objective.needs <= SUPPORTED, "teach this test to make the new input"
    g = torch.Generator().manual_seed(seed)
    made = {
        name: torch.randn(shape, generator=g, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }
    made["choice"] = torch.randint(0, OPTIONS, (RECORDS,), generator=g)
    made["group"] = torch.arange(RECORDS) // 2
    return {name: made[name] for name in objective.needs}


def pick(given, rows):
    return {name: value[rows] for name, value in given.items()}


def test_one_finite_number_a_record(objective) -> None:
    given = inputs(objective)
    value = objective.loss(**given)
    assert value.shape == (RECORDS,)
    assert value.isfinite().all()


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e3, 1e8])
def test_finite_at_extremes(objective, size: float) -> None:
    given = inputs(objective)
    for name in SHAPES.keys() & given.keys():
        given[name] = (given[name] * size).requires_grad_()
    value = objective.loss(**given)
    value.sum().backward()
    assert value.isfinite().all()
    for name in SHAPES.keys() & given.keys():
        assert given[name].grad.isfinite().all()


def test_gradient_matches_finite_differences(objective) -> None:
    given = inputs(objective)
    moving = sorted(SHAPES.keys() & given.keys())
    for name in moving:
        given[name].requires_grad_()

    def loss(*values):
        return objective.loss(**(given | dict(zip(moving, values, strict=True))))

    assert torch.autograd.gradcheck(loss, tuple(given[name] for name in moving))


def test_batch_is_the_stack_of_its_parts(objective) -> None:
    given = inputs(objective)
    whole = objective.loss(**given)
    size = 2 if "group" in objective.needs else 1
    parts = [
        objective.loss(**pick(given, slice(i, i + size)))
        for i in range(0, RECORDS, size)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-14, atol=0)


def test_poisoning_one_record_leaves_the_others_bit_identical(objective) -> None:
    """Row independence: without it a per-unit clip bounds nothing."""
    given = inputs(objective)
    before = objective.loss(**given)
    for name in SHAPES.keys() & given.keys():
        given[name][0] = float("nan")
    after = objective.loss(**given)
    others = slice(2 if "group" in objective.needs else 1, None)
    assert torch.equal(before[others], after[others])


def test_row_independence_test_sees_a_coupled_loss() -> None:
    """The check above must fail for a loss that centres rewards over the batch."""
    scores = torch.randn(RECORDS, OPTIONS, dtype=torch.float64)

    def coupled(s: torch.Tensor) -> torch.Tensor:
        return (s - s.mean()).logsumexp(1)

    before = coupled(scores)
    scores[0] = float("nan")
    assert not torch.equal(before[1:], coupled(scores)[1:])


def test_falls_as_the_chosen_option_gains(objective) -> None:
    if "scores" not in objective.needs:
        pytest.skip("tested where scores are used")
    given = inputs(objective)
    gains = []
    for gain in (-2.0, 0.0, 2.0):
        shifted = given["scores"].clone()
        shifted.scatter_add_(
            1, given["choice"][:, None], torch.full((RECORDS, 1), gain).double()
        )
        gains.append(objective.loss(**(given | {"scores": shifted})))
    assert (gains[0] > gains[1]).all()
    assert (gains[1] > gains[2]).all()


def test_absent_options_change_nothing(objective) -> None:
    if "scores" not in objective.needs:
        pytest.skip("tested where scores are used")
    given = inputs(objective)
    absent = torch.full((RECORDS, 2), float("-inf"), dtype=torch.float64)
    padded = torch.cat([given["scores"], absent], 1).requires_grad_()
    value = objective.loss(**(given | {"scores": padded}))
    torch.testing.assert_close(value, objective.loss(**given), rtol=1e-14, atol=0)
    value.sum().backward()
    assert padded.grad[:, OPTIONS:].abs().max() == 0
    assert padded.grad.isfinite().all()


@pytest.mark.parametrize("name", objectives.names())
def test_is_documented_and_has_keyword_hyper_parameters(name: str) -> None:
    module = import_module(f"fedpref.objectives.{name}")
    public = [
        key
        for key, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    assert public == ["loss"]
    assert "Source:" in module.__doc__ or "reconstruction" in module.__doc__.lower()
    assert ">>>" in module.loss.__doc__
    assert "Does not give" in module.loss.__doc__
    for parameter in inspect.signature(module.loss).parameters.values():
        if parameter.name not in objectives.RESERVED:
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.default is not parameter.empty


def test_pairs_of_both_objectives_agree() -> None:
    """A pair is K = 2, where the two likelihoods are the same."""
    scores = torch.randn(5, 2, dtype=torch.float64)
    choice = torch.tensor([0, 1, 0, 1, 1])
    a = objectives.load("bt", {}, unit=Unit.USER).loss(scores, choice)
    b = objectives.load("plackett_luce", {}, unit=Unit.USER).loss(scores, choice)
    torch.testing.assert_close(a, b)


def test_margin_shifts_every_pair() -> None:
    scores = torch.tensor([[2.0, 0.5, 1.0]], dtype=torch.float64)
    value = objectives.load("bt", {"margin": 0.5}, unit=Unit.USER).loss(
        scores, torch.tensor([0])
    )
    # log(1 + exp(0.5 - 2 + 0.5)) + log(1 + exp(1 - 2 + 0.5))
    assert value.item() == pytest.approx(0.3132616875 + 0.4740769842, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "hyper", "needle"),
    [
        ("placket_luce", {}, "did you mean plackett_luce"),
        ("bt", {"marign": 1.0}, "did you mean margin"),
        ("bt", {"margin": "wide"}, "must be a float"),
        ("bt", {"margin": True}, "must be a float"),
        ("bt", {"scores": 1.0}, "unknown"),
        ("os", {}, "unknown"),
    ],
)
def test_refuses_what_does_not_exist(name: str, hyper: dict, needle: str) -> None:
    with pytest.raises(ObjectiveError, match=needle):
        objectives.load(name, hyper, unit=Unit.USER)


def test_refuses_coupled_records_when_the_record_is_the_unit(monkeypatch) -> None:
    module = import_module("fedpref.objectives.bt")

    def loss(scores, choice, group):
        return scores[:, 0] + group

    monkeypatch.setattr(module, "loss", loss)
    assert "group" in objectives.load("bt", {}, unit=Unit.USER).needs
    with pytest.raises(ObjectiveError, match="couples the records of a user"):
        objectives.load("bt", {}, unit=Unit.RECORD)
