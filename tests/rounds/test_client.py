"""The device's half of a round."""

import numpy as np
import pytest

from fedpref.core.grid import squared_norm, to_reals
from fedpref.errors import MessageError
from fedpref.rounds.client import ClientState, answer
from fedpref.secagg.messages import Invitation, decode_contribution, encode_invitation


def invite(plan, round_=1, model=(0.0, 0.0, 0.0)) -> bytes:
    return encode_invitation(Invitation(round_, plan.digest, np.array(model)))


def update(plan, reply: bytes) -> np.ndarray:
    return decode_contribution(reply, plan=plan.digest, coordinates=3).update


def test_a_short_gradient_arrives_as_it_is(make_plan, contributing, toward) -> None:
    plan = make_plan()
    reply, state = answer(
        invite(plan),
        ClientState(),
        plan=plan,
        contribute=contributing(plan, toward([1, -0.5, 0])),
    )
    real = to_reals(update(plan, reply), plan.grid)
    assert real == pytest.approx([-1, 0.5, 0], abs=plan.grid.step)
    assert state.last_round == 1
    assert state.failures == 0


@pytest.mark.parametrize("size", [3.0, 1e9, 1e300])
def test_a_long_gradient_is_within_the_bound(make_plan, contributing, size) -> None:
    plan = make_plan()
    reply, _ = answer(
        invite(plan),
        ClientState(),
        plan=plan,
        contribute=contributing(plan, lambda vector: np.full((1, 3), size)),
    )
    norm = squared_norm(update(plan, reply))
    assert norm <= plan.sensitivity_squared
    assert norm > plan.sensitivity_squared * 0.999


def broken(kind):
    def gradient(vector):
        if kind == "raises":
            raise RuntimeError("secret text")
        if kind == "memory":
            raise MemoryError
        if kind == "shape":
            return np.zeros((2, 3))
        if kind == "nothing":
            return None
        if kind == "words":
            return np.array([["a", "b", "c"]])
        if kind == "objects":
            return np.array([[object(), 0, 0]], dtype=object)
        return np.array([[0.0, float(kind), 1.0]])

    return gradient


@pytest.mark.parametrize(
    "kind", ["raises", "memory", "shape", "nothing", "words", "objects", "nan", "inf"]
)
def test_a_failure_in_the_data_is_a_zero_of_the_same_size(
    make_plan, contributing, toward, kind
) -> None:
    plan = make_plan()
    good, _ = answer(
        invite(plan),
        ClientState(),
        plan=plan,
        contribute=contributing(plan, toward([1, 0, 0])),
    )
    reply, state = answer(
        invite(plan),
        ClientState(),
        plan=plan,
        contribute=contributing(plan, broken(kind)),
    )
    assert len(reply) == len(good)
    assert not update(plan, reply).any()
    assert state.last_round == 1
    assert state.failures == 1


def test_the_same_request_gets_the_same_bytes_without_new_work(
    make_plan, contributing
) -> None:
    plan, calls = make_plan(), []

    def gradient(vector):
        calls.append(1)
        return np.random.default_rng(len(calls)).normal(size=(1, 3))

    first, state = answer(
        invite(plan), ClientState(), plan=plan, contribute=contributing(plan, gradient)
    )
    again, same = answer(
        invite(plan), state, plan=plan, contribute=contributing(plan, gradient)
    )
    assert again == first
    assert same == state
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("round_", "last", "needle"),
    [(1, 1, "was answered"), (1, 2, "was answered"), (4, 0, "the plan has 3")],
)
def test_refuses_old_rounds_and_rounds_beyond_the_plan(
    make_plan, contributing, toward, round_, last, needle
) -> None:
    plan = make_plan()
    state = ClientState(last_round=last)
    with pytest.raises(MessageError, match=needle):
        answer(
            invite(plan, round_),
            state,
            plan=plan,
            contribute=contributing(plan, toward([0, 0, 0])),
        )


def test_refuses_a_second_model_in_one_round(make_plan, contributing, toward) -> None:
    """Otherwise a server could ask twice and pay once."""
    plan = make_plan()
    _, state = answer(
        invite(plan),
        ClientState(),
        plan=plan,
        contribute=contributing(plan, toward([1, 0, 0])),
    )
    with pytest.raises(MessageError, match="was answered"):
        answer(
            invite(plan, 1, (0.1, 0, 0)),
            state,
            plan=plan,
            contribute=contributing(plan, toward([1, 0, 0])),
        )


def test_refuses_another_plan(make_plan, contributing, toward) -> None:
    theirs = make_plan(rounds=99)
    with pytest.raises(MessageError, match="another privacy plan"):
        answer(
            invite(theirs),
            ClientState(),
            plan=make_plan(),
            contribute=contributing(make_plan(), toward([0, 0, 0])),
        )


def test_state_shows_no_update(make_plan, contributing) -> None:
    plan = make_plan()
    _, state = answer(
        invite(plan),
        ClientState(),
        plan=plan,
        contribute=contributing(plan, lambda v: np.full((1, 3), 0.123456)),
    )
    assert state.last_reply.hex()[:20] not in repr(state)
    assert "last_reply" not in repr(state)
