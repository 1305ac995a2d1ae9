"""Coefficients against arithmetic by hand."""

import numpy as np
import pytest
import torch

from fedpref.core.types import Objective, Record, Unit
from fedpref.errors import InputError, ObjectiveError
from fedpref.models.folding import fold
from fedpref.models.losses import (
    by_option,
    check_objective,
    coefficients,
    record_losses,
)
from fedpref.models.reward import RewardModel

A, B, C, D = "text a", "text b", "text c", "text d"
RECORDS = (
    Record("ann", "", (A, B), choice=0),
    Record("bob", "", (C, B, D), choice=2, weight=0.5),
    Record("ann", "", (B, C), choice=1),
)
SCORES = np.array([0.3, -0.2, 1.0, 0.4])  # of a, b, c, d


def test_units_users_and_texts_are_numbered_by_first_appearance():
    folding = fold(RECORDS, Unit.USER)
    assert folding.texts == (A, B, C, D)
    assert folding.index.tolist() == [[0, 1, -1], [2, 1, 3], [1, 2, -1]]
    assert folding.choice.tolist() == [0, 2, 1]
    assert folding.group.tolist() == folding.unit.tolist() == [0, 1, 0]
    assert folding.units == 2
    assert folding.touched.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    by_record = fold(RECORDS, Unit.RECORD)
    assert by_record.unit.tolist() == [0, 1, 2]
    assert by_record.group.tolist() == [0, 1, 0]


def test_a_prompt_is_part_of_the_text():
    records = [
        Record("ann", "q", (A, B), choice=0),
        Record("ann", "", (A, B), choice=0),
    ]
    assert len(fold(records, Unit.USER).texts) == 4


def test_coefficients_are_softmax_minus_one_hot(softmax):
    """ann: p(b | a, b) = s, so d loss / d a = -s and d loss / d b = +s; added up."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    first, second = sigmoid(-0.2 - 0.3), sigmoid(-0.2 - 1.0)
    p = np.exp(SCORES[[2, 1, 3]]) / np.exp(SCORES[[2, 1, 3]]).sum()
    ann = [-first, first + second, -second, 0]
    bob = [0, 0.5 * p[1], 0.5 * p[0], 0.5 * (p[2] - 1)]
    found = coefficients(softmax, fold(RECORDS, Unit.USER), SCORES)
    assert np.abs(found - [ann, bob]).max() < 1e-12
    rows = coefficients(softmax, fold(RECORDS, Unit.RECORD), SCORES)
    assert np.abs(rows[0] + rows[2] - ann).max() < 1e-12
    assert np.abs(rows[1] - bob).max() < 1e-12


def test_a_text_that_a_record_names_twice_gets_both_contributions(softmax):
    same = fold([Record("ann", "", (A, A), choice=0)], Unit.USER)
    assert coefficients(softmax, same, np.array([0.7])).tolist() == [[0.0]]


def test_absent_options_score_minus_infinity():
    options = by_option(fold(RECORDS, Unit.USER), torch.from_numpy(SCORES))
    assert options[0].tolist() == [0.3, -0.2, float("-inf")]


def test_a_loss_gets_exactly_what_it_asks_for():
    seen = {}

    def loss(**given):
        seen.update(given)
        return given["scores"].sum(1)

    records = [Record("ann", "", (A,), label=True), Record("bob", "", (B,), label=True)]
    folding = fold(records, Unit.USER)
    for needs in ({"scores"}, {"scores", "group"}):
        seen.clear()
        objective = Objective("own", loss, frozenset(needs))
        coefficients(objective, folding, np.zeros(2))
        assert set(seen) == needs
    assert seen["group"].tolist() == [0, 1]


def test_a_loss_that_is_not_finite_poisons_its_own_unit_only(softmax):
    clean = coefficients(softmax, fold(RECORDS, Unit.USER), SCORES)

    def broken(*, scores, choice):  # a finite gradient, yet the loss is not a number
        loss = softmax.loss(scores=scores, choice=choice)
        return loss + torch.tensor([0.0, float("nan"), 0.0])

    objective = Objective("broken", broken, softmax.needs)
    found = coefficients(objective, fold(RECORDS, Unit.USER), SCORES)
    assert np.array_equal(found[0], clean[0])
    assert np.isnan(found[1]).all()


def test_what_a_reward_model_cannot_serve_is_refused(grouped, softmax):
    policy = Objective("dpo", lambda: None, frozenset({"policy", "reference"}))
    with pytest.raises(ObjectiveError, match="dpo asks for policy, reference"):
        check_objective(policy, RewardModel.provides, Unit.USER)
    with pytest.raises(ObjectiveError, match=r'privacy\.unit = "user"'):
        check_objective(grouped, RewardModel.provides, Unit.RECORD)
    check_objective(grouped, RewardModel.provides, Unit.USER)
    thumbs = fold([Record("ann", "", (A,), label=True), *RECORDS], Unit.USER)
    with pytest.raises(InputError, match="1 of 4 have none"):
        record_losses(softmax, thumbs, torch.zeros(4, dtype=torch.float64))


def test_a_loss_must_return_one_number_a_record(softmax):
    mean = Objective(
        "mean", lambda *, scores: scores[:, 0].mean(), frozenset({"scores"})
    )
    with pytest.raises(ObjectiveError, match=r"returned shape \(\)"):
        coefficients(mean, fold(RECORDS, Unit.USER), SCORES)
