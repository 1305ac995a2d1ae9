"""Every file in fedpref/objectives keeps the contract; new files are found by name."""

import ast
import inspect
import math
from importlib import import_module
from itertools import product

import pytest
import torch

from fedpref import objectives
from fedpref.core.types import Unit
from fedpref.errors import ObjectiveError
from fedpref.objectives import Coupling, Takes

RECORDS = 6  # of three users, two each
OPTIONS = {Takes.CHOICE: 3, Takes.PAIR: 2, Takes.LABELS: 2, Takes.THUMB: 1}
MOVING = ("scores", "policy")  # what a gradient is taken of
FLOATS = (*MOVING, "reference", "mismatched", "preference")
NAMES = objectives.names()
every = pytest.mark.parametrize("name", NAMES)
every_private = pytest.mark.parametrize(
    "name", [n for n in NAMES if objectives.about(n).coupling is not Coupling.BATCH]
)


def loaded(name: str, **hyper):
    return objectives.load(name, hyper, unit=Unit.USER, private=False)


def inputs(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random arguments of three users with two records each."""
    g = torch.Generator().manual_seed(seed)
    options = OPTIONS[objectives.about(name).takes]

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    weights = torch.rand((RECORDS, 2), generator=g, dtype=torch.float64)
    made = {
        "scores": normal(RECORDS, options),
        "policy": normal(RECORDS, options) - 1,
        "reference": normal(RECORDS, options) - 1,
        "mismatched": normal(RECORDS) + 1,
        "lengths": torch.randint(1, 9, (RECORDS, options), generator=g),
        "choice": torch.randint(0, options, (RECORDS,), generator=g),
        "label": torch.randint(0, 2, (RECORDS,), generator=g),
        "labels": torch.randint(0, 2, (RECORDS, 2), generator=g),
        "preference": weights / weights.sum(1, keepdim=True),
        "group": torch.arange(RECORDS) // 2,
        "previous": torch.tensor([0.7], dtype=torch.float64),
    }
    made["labels"][1, 0] = -1
    needs = loaded(name).needs
    assert needs <= made.keys(), "teach this test to make the new input"
    return {key: made[key] for key in needs}


def pick(given, rows):
    return {k: v if k == "previous" else v[rows] for k, v in given.items()}


def with_gradient(name, given):
    """Losses, and their sum's gradient by everything that moves, side by side."""
    moving = [key for key in MOVING if key in given]
    leaves = {key: given[key].clone().requires_grad_() for key in moving}
    losses = loaded(name).loss(**(given | leaves))
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    return losses.detach(), torch.cat(gradients, 1)


# --- what a loss is -----------------------------------------------------------------


def test_finds_the_objectives() -> None:
    assert len(NAMES) >= 22
    assert {"bt", "bsr_lagged", "dpo", "kto_user", "parm"} <= set(NAMES)
    assert not [name for name in NAMES if name.startswith("_")]


@every
def test_one_finite_number_a_record(name) -> None:
    value = loaded(name).loss(**inputs(name))
    assert value.shape == (RECORDS,)
    assert value.dtype == torch.float64
    assert value.isfinite().all()


@every
@pytest.mark.parametrize("size", [0.0, 1e-300, 1e3, 1e8])
def test_finite_at_extremes(name, size: float) -> None:
    given = inputs(name)
    for key in ("previous", *FLOATS):
        if key in given and key != "preference":
            given[key] = given[key] * size
    losses, gradient = with_gradient(name, given)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("chi_po", "clamp", 50.0),
        ("infopo", "clamp", 50.0),
        ("orpo", "gap", 1e-6),
        ("ddro", "gap", 1e-6),
        ("logit_norm", "floor", 1e-6),
    ],
)
def test_a_clamp_at_the_end_of_its_range_still_clamps(name, key, value) -> None:
    """Past it there would be infinities, and a device with one sends zeros."""
    beyond = value * (1.01 if value > 1 else 0.99)
    with pytest.raises(ObjectiveError, match=f"objective.{key} = "):
        loaded(name, **{key: beyond})
    given = grid(name)
    given = {k: given[k][: 2 * len(WIDE) ** 2] for k in loaded(name).needs}
    (moving,) = (k for k in MOVING if k in given)
    leaf = given[moving].clone().requires_grad_()
    losses = loaded(name, **{key: value}).loss(**(given | {moving: leaf}))
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()


@every
def test_gradient_matches_finite_differences(name) -> None:
    given, step = inputs(name), 1e-5
    _, gradient = with_gradient(name, given)
    loss = loaded(name).loss
    for start, key in enumerate(key for key in MOVING if key in given):
        width = given[key].shape[1]
        for row in range(RECORDS):
            for column in range(width):
                ends = []
                for sign in (1, -1):
                    moved = given[key].clone()
                    moved[row, column] += sign * step
                    ends.append(loss(**(given | {key: moved})).sum())
                slope = ((ends[0] - ends[1]) / (2 * step)).item()
                found = gradient[row, start * width + column].item()
                assert found == pytest.approx(slope, abs=1e-6)


# --- what it may depend on ----------------------------------------------------------


@every_private
def test_batch_is_the_stack_of_its_parts(name) -> None:
    given = inputs(name)
    size = 2 if "group" in given else 1
    parts = [
        with_gradient(name, pick(given, slice(i, i + size)))
        for i in range(0, RECORDS, size)
    ]
    for whole, part in zip(
        with_gradient(name, given), zip(*parts, strict=True), strict=True
    ):
        torch.testing.assert_close(torch.cat(part), whole, rtol=1e-13, atol=1e-13)


def poisoned(name):
    """The losses before and after the first record turns into NaN."""
    given = inputs(name)
    before = with_gradient(name, given)
    for key in FLOATS:
        if key in given:
            given[key] = given[key].clone()
            given[key][0] = float("nan")
    return before, with_gradient(name, given)


@every_private
def test_poisoning_one_record_leaves_the_others_bit_identical(name) -> None:
    """Row independence: without it a per-unit clip bounds nothing."""
    before, after = poisoned(name)
    others = slice(2 if "group" in loaded(name).needs else 1, None)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[others], b[others])
    assert after[0][0].isnan(), "a broken record must be seen, not skipped"


@every_private
def test_removing_one_person_moves_nobody_else(name) -> None:
    given = inputs(name)
    before = with_gradient(name, given)
    after = with_gradient(name, pick(given, slice(2, None)))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a[2:], b, rtol=0, atol=1e-6)


@every
def test_coupling_is_what_it_says(name) -> None:
    """What is said to couple does, so that nothing is refused for no reason."""
    said, needs = objectives.about(name), loaded(name).needs
    assert ("group" in needs) == (said.coupling is Coupling.USER)
    assert ("previous" in needs) == (said.coupling is Coupling.RELEASED)
    (_, (after, _)) = poisoned(name)
    touched = after.isnan().tolist()
    reach = {Coupling.USER: 2, Coupling.BATCH: RECORDS}.get(said.coupling, 1)
    assert touched == [i < reach for i in range(RECORDS)]


def bound_to_users(said) -> bool:
    return said.pairs or said.coupling is Coupling.USER


@every
def test_it_says_whether_it_reads_other_records_of_the_person(name) -> None:
    """In its statistic too: one record then moves another record's contribution."""
    module = import_module(f"fedpref.objectives.{name}")
    functions = [getattr(module, f, None) for f in ("loss", "statistic")]
    asked = {p for f in functions if f for p in inspect.signature(f).parameters}
    assert objectives.about(name).pairs == ("mismatched" in asked)
    user = "unit = user" if {"mismatched", "group"} & asked else "any unit"
    assert objectives.about(name).private in (user, "no")


@every
def test_refused_by_name_where_it_leaves_a_unit_unbounded(name) -> None:
    said = objectives.about(name)
    batch, user = said.coupling is Coupling.BATCH, bound_to_users(said)
    for unit, private in product(Unit, (True, False)):
        if (batch and private) or (user and unit is not Unit.USER):
            with pytest.raises(ObjectiveError, match=f"objective {name} couples") as e:
                objectives.load(name, {}, unit=unit, private=private)
            assert all(safe in str(e.value) for safe in said.safe)
        else:
            objectives.load(name, {}, unit=unit, private=private)


def test_a_batch_is_refused_unless_somebody_says_that_nothing_is_private() -> None:
    with pytest.raises(ObjectiveError, match=r"use bsr_user, bsr_lagged, bsr_pair$"):
        objectives.load("bsr_batch", {}, unit=Unit.USER)


@every
def test_what_stands_in_for_a_refused_one_does_the_same_job(name) -> None:
    said = objectives.about(name)
    assert bool(said.safe) == (said.coupling is Coupling.BATCH or bound_to_users(said))
    for safe in said.safe:
        other = objectives.about(safe)
        assert (other.takes, other.trains) == (said.takes, said.trains)
        assert other.coupling is not Coupling.BATCH
        if said.coupling is not Coupling.BATCH:
            assert not bound_to_users(other)


@every
def test_released_statistics_are_bounded_and_apart(name) -> None:
    objective, given = loaded(name), inputs(name)
    assert (objective.statistic is None) == ("previous" not in objective.needs)
    if objective.statistic is None:
        return
    scale, most = objective.hyper["statistic_scale"], objective.hyper["bound"]
    wanted = list(inspect.signature(objective.statistic).parameters)
    made = {"mismatched": torch.linspace(-1, 1, RECORDS).double(), **given}
    own = {k: made[k].requires_grad_() for k in wanted if k in objectives.RESERVED}
    for size in (1.0, 1e9):
        sent = objective.statistic(**{k: v * size for k, v in own.items()})
        assert sent.shape == (RECORDS,)
        assert not sent.requires_grad
        assert sent.abs().max() <= scale * most
    assert sent.abs().max() == scale * most
    first = objective.statistic(**{k: v[:1] for k, v in own.items()})
    assert first == objective.statistic(**own)[0]
    doubled = loaded(name, statistic_scale=2 * scale).statistic(**own)
    torch.testing.assert_close(doubled, 2 * objective.statistic(**own))


# --- how large it gets --------------------------------------------------------------

WIDE = [-1e6, -60.0, -21.0, -9.0, -4.0, *[x / 4 for x in range(-8, 9)]]
ROUNDING = 1e-8  # torch's softplus is a straight line above 20, which is 2e-9 off
WIDE += [4.0, 9.0, 12.0, 21.0, 60.0, 1e6]


def other_values(name: str) -> dict[str, float]:
    """A value that is not the default for every keyword."""
    ranges = objectives.about(name).ranges
    found = {}
    for key, default in objectives.hyper_parameters(name).items():
        near = [1.7 * default, 0.6 * default, 0.25]
        found[key] = next(x for x in near if x != default and x in ranges[key])
    return found


def grid(name: str) -> dict[str, torch.Tensor]:
    """One record for each combination of extreme and ordinary values."""
    options = OPTIONS[objectives.about(name).takes]
    options = min(options, 2)
    axes = [torch.tensor(WIDE, dtype=torch.float64)] * options
    values = torch.cartesian_prod(*axes).reshape(-1, options)
    twice = torch.cat([values, values])
    answer = (torch.arange(len(twice)) >= len(values)).long()
    made = {"scores": twice, "policy": twice, "reference": 0 * twice}
    made |= {"choice": answer, "label": answer, "lengths": torch.ones_like(twice)}
    made |= {"labels": torch.stack([answer, answer], 1), "group": torch.arange(99999)}
    made |= {"preference": torch.full((len(twice), 2), 0.5).double()}
    made |= {
        "mismatched": twice[:, 0].flip(0),
        "previous": torch.tensor([-1e3]).double(),
    }
    made["group"] = made["group"][: len(twice)]
    return {key: made[key] for key in loaded(name).needs}


def bound_of(name: str, hyper: dict[str, float]) -> float:
    """The value of the expression that the objective documents."""
    tree = ast.parse(objectives.about(name).bound, mode="eval")
    known = {"exp": math.exp, "max": max, **hyper}
    code = compile(tree, name, "eval")
    return eval(code, {"__builtins__": {}}, known)  # noqa: S307 (our own file)


@pytest.mark.parametrize("other", [False, True], ids=["default", "other"])
@pytest.mark.parametrize("name", [n for n in NAMES if objectives.about(n).bounded])
def test_derivatives_stay_within_the_documented_bound(name, other) -> None:
    hyper = other_values(name) if other else {}
    objective, given = loaded(name, **hyper), grid(name)
    (moving,) = (key for key in MOVING if key in given)
    leaf = given[moving].clone().requires_grad_()
    value = objective.loss(**(given | {moving: leaf}))
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    most, bound = gradient.abs().max().item(), bound_of(name, dict(objective.hyper))
    assert most <= bound * (1 + ROUNDING)
    assert most >= 0.49 * bound, "a bound that nothing comes near says little"


@pytest.mark.parametrize("name", ["bsr_user", "kto_user"])
def test_a_bound_holds_for_people_with_many_records(name) -> None:
    given = grid(name)
    given["group"] = torch.arange(len(given["group"])) % 7
    (moving,) = (key for key in MOVING if key in given)
    leaf = given[moving].clone().requires_grad_()
    objective = loaded(name)
    (gradient,) = torch.autograd.grad(
        objective.loss(**(given | {moving: leaf})).sum(), leaf
    )
    assert gradient.abs().max() <= bound_of(name, dict(objective.hyper)) * (
        1 + ROUNDING
    )


def test_only_what_is_refused_with_noise_may_be_unbounded() -> None:
    unbounded = [name for name in NAMES if not objectives.about(name).bounded]
    assert unbounded == ["bsr_batch"]


# --- choices ------------------------------------------------------------------------

PULLED = ("bsr_", "reward_norm", "logit_norm")  # rewards are drawn somewhere as well


def falls(name) -> bool:
    return not name.startswith(PULLED) and objectives.about(name).takes is Takes.CHOICE


@pytest.mark.parametrize("name", [name for name in NAMES if falls(name)])
def test_falls_as_the_chosen_option_gains(name) -> None:
    given = inputs(name)
    (moving,) = (key for key in MOVING if key in given)
    values = []
    for gain in (-0.5, 0.0, 0.5):
        step = torch.full((RECORDS, 1), gain).double()
        shifted = given[moving].scatter_add(1, given["choice"][:, None], step)
        values.append(loaded(name).loss(**(given | {moving: shifted})))
    assert (values[0] >= values[1]).all()
    assert (values[1] >= values[2]).all()
    assert (values[0] > values[2]).sum() >= RECORDS - 1  # one may be won already


@pytest.mark.parametrize(
    "name", [n for n in NAMES if objectives.about(n).takes is Takes.CHOICE]
)
def test_absent_options_change_nothing(name) -> None:
    given = inputs(name)
    absent = torch.full((RECORDS, 2), float("-inf"), dtype=torch.float64)
    fill = {"scores": absent, "policy": absent, "reference": 0 * absent.exp()}
    fill["lengths"] = torch.zeros((RECORDS, 2), dtype=torch.int64)
    padded = given | {
        key: torch.cat([given[key], fill[key]], 1) for key in fill if key in given
    }
    value, gradient = with_gradient(name, padded)
    before, expected = with_gradient(name, given)
    torch.testing.assert_close(value, before, rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient[:, :3], expected, rtol=1e-13, atol=1e-15)
    assert gradient[:, 3:].abs().max() == 0


@pytest.mark.parametrize(
    ("name", "shape", "needle"),
    [
        ("robust_dpo", (2, 3), "must be 2"),
        ("kto_zero", (2, 2), "options = 2, must be 1"),
        ("bco", (2, 3), "options = 3, must be 1"),
    ],
)
def test_refuses_other_numbers_of_options(name, shape, needle) -> None:
    values = torch.zeros(shape, dtype=torch.float64)
    answer = {"choice": torch.zeros(2).long(), "label": torch.zeros(2)}
    needs = {k: v for k, v in answer.items() if k in loaded(name).needs}
    with pytest.raises(ObjectiveError, match=needle):
        loaded(name).loss(policy=values, reference=values, **needs)


@pytest.mark.parametrize(("options", "count"), [(3, 2), (2, 1)])
def test_parm_needs_two_responses_and_two_objectives(options, count) -> None:
    labels = torch.zeros((1, count)).long()
    with pytest.raises(ObjectiveError, match=f"responses = {options} and objectives"):
        loaded("parm").loss(
            policy=torch.zeros((1, options)), labels=labels, preference=labels
        )


# --- what is said about it ----------------------------------------------------------


@every
def test_is_documented_and_has_keyword_hyper_parameters(name: str) -> None:
    module = import_module(f"fedpref.objectives.{name}")
    public = [
        key
        for key, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    lagged = "previous" in loaded(name).needs
    assert public == (["loss", "statistic"] if lagged else ["loss"])
    said = module.__doc__.lower()
    assert ("source:" in said) != ("reconstruction" in said)
    assert "reconstruction" not in said or "equation" not in said
    assert "departures" in said
    assert module.ABOUT.source.startswith("reconstruction") == ("source:" not in said)
    assert ">>>" in module.loss.__doc__
    assert "Does not give" in module.loss.__doc__
    for parameter in inspect.signature(module.loss).parameters.values():
        assert f"{parameter.name}:" in module.loss.__doc__
        if parameter.name not in objectives.RESERVED:
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.default is not parameter.empty


@every
def test_every_keyword_has_a_range_that_holds_its_default(name) -> None:
    hyper, ranges = objectives.hyper_parameters(name), objectives.about(name).ranges
    assert hyper.keys() == ranges.keys()
    for key, default in hyper.items():
        assert default in ranges[key]
        assert float("nan") not in ranges[key]
        assert float("inf") not in ranges[key]


@every
def test_functions_of_a_file_agree_on_defaults(name) -> None:
    module = import_module(f"fedpref.objectives.{name}")
    found: dict[str, set] = {}
    for function in (module.loss, getattr(module, "statistic", module.loss)):
        for parameter in inspect.signature(function).parameters.values():
            found.setdefault(parameter.name, set()).add(parameter.default)
    assert all(len(defaults) == 1 for defaults in found.values())


def test_bound_hyper_parameters_reach_both_functions() -> None:
    objective = loaded("bsr_lagged", bound=2.0, strength=1)
    scores = torch.tensor([[9.0, 9.0]], dtype=torch.float64)
    sent = objective.statistic(scores=scores)
    assert sent.item() == pytest.approx(0.1 * 2.0)
    given = {"choice": torch.tensor([0]), "previous": torch.tensor([9.0])}
    value = objective.loss(scores=scores, **given)
    assert value.item() == pytest.approx(math.log(2) + 2 * 2.0 * 9)
    assert objective.hyper == {"strength": 1, "bound": 2.0, "statistic_scale": 0.1}


# --- loading ------------------------------------------------------------------------


def test_pairs_of_both_objectives_agree() -> None:
    """A pair is K = 2, where the two likelihoods are the same."""
    scores = torch.randn(5, 2, dtype=torch.float64)
    choice = torch.tensor([0, 1, 0, 1, 1])
    a = loaded("bt").loss(scores, choice)
    b = loaded("plackett_luce").loss(scores, choice)
    torch.testing.assert_close(a, b)


def test_margin_shifts_every_pair() -> None:
    scores = torch.tensor([[2.0, 0.5, 1.0]], dtype=torch.float64)
    value = loaded("bt", margin=0.5).loss(scores, torch.tensor([0]))
    # log(1 + exp(0.5 - 2 + 0.5)) + log(1 + exp(1 - 2 + 0.5))
    assert value.item() == pytest.approx(0.3132616875 + 0.4740769842, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "hyper", "needle"),
    [
        ("placket_luce", {}, "did you mean plackett_luce"),
        ("_terms", {}, "unknown"),
        ("bt", {"marign": 1.0}, "did you mean margin"),
        ("bt", {"margin": "wide"}, "must be a float"),
        ("bt", {"margin": True}, "must be a float"),
        ("bt", {"margin": float("nan")}, "must be between -1e6 and 1e6"),
        ("bt", {"scores": 1.0}, "unknown"),
        ("bt", {"smoothing": 0.5}, "must be 0 or more and below 0.5"),
        ("dpo", {"beta": 0.0}, r"objective\.beta = 0\.0, must be above 0"),
        ("dpo", {"beta": -1}, "must be above 0"),
        ("ipo", {"clamp": float("inf")}, "must be above 0"),
        ("rdro", {"share": 1}, "above 0 and below 1"),
        ("os", {}, "unknown"),
    ],
)
def test_refuses_what_does_not_exist(name: str, hyper: dict, needle: str) -> None:
    with pytest.raises(ObjectiveError, match=needle):
        objectives.load(name, hyper, unit=Unit.USER)


def test_refuses_coupled_records_when_the_record_is_the_unit(monkeypatch) -> None:
    """By what the function asks for, whatever the file says about itself."""
    module = import_module("fedpref.objectives.bt")

    def loss(scores, choice, group):
        return scores[:, 0] + group

    monkeypatch.setattr(module, "loss", loss)
    assert "group" in objectives.load("bt", {}, unit=Unit.USER).needs
    with pytest.raises(ObjectiveError, match="couples the records of a user"):
        objectives.load("bt", {}, unit=Unit.RECORD)


def test_row_independence_test_sees_a_coupled_loss(monkeypatch) -> None:
    """The checks above must fail for a loss that centres rewards over the batch."""
    module = import_module("fedpref.objectives.bt")
    usual = module.loss

    def coupled(scores, choice, *, margin=0.0, smoothing=0.0):
        return usual(scores - scores.mean(), choice) + 0 * scores.mean()

    monkeypatch.setattr(module, "loss", coupled)
    with pytest.raises(AssertionError):
        test_poisoning_one_record_leaves_the_others_bit_identical("bt")
    with pytest.raises(AssertionError):
        test_coupling_is_what_it_says("bt")
