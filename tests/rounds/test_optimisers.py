"""Server optimisers against hand arithmetic, torch and the noise they are told of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedpref.core.types import Noise
from fedpref.rounds.optimisers import Optimiser, adam, dp_adamw, sgd
from fedpref.rounds.server import Noisy, run_round, start

AT = {"model": np.zeros(1), "variance": 0.0}


def test_momentum_by_hand() -> None:
    descent = sgd(lr=0.1, momentum=0.5)
    state, steps = descent.init(1), []
    for gradient in (1.0, 1.0, -2.0):
        step, state = descent.update(np.array([gradient]), state, **AT)
        steps.append(step.item())
    assert steps == pytest.approx([-0.1, -0.15, 0.125])


def test_adam_equals_torch() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 4))
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.Adam([weight], lr=0.03, betas=(0.8, 0.95), eps=1e-8)
    ours = adam(lr=0.03, beta1=0.8, beta2=0.95)
    model, state = np.zeros(4), ours.init(4)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        theirs.step()
        step, state = ours.update(gradient, state, model=model, variance=0.0)
        model = model + step
    assert model == pytest.approx(weight.detach().numpy(), rel=1e-12)


def test_dp_adamw_without_noise_equals_torch_adamw() -> None:
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(8, 5)) + 0.3
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.AdamW(
        [weight], lr=0.03, betas=(0.8, 0.95), eps=0.0, weight_decay=0.1
    )
    ours = dp_adamw(lr=0.03, beta1=0.8, beta2=0.95, floor=0.0, decay=0.1)
    model, state = np.ones(5), ours.init(5)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        theirs.step()
        step, state = ours.update(gradient, state, model=model, variance=0.0)
        model = model + step
    assert model == pytest.approx(weight.detach().numpy(), rel=1e-12)


def test_dp_adamw_takes_the_noise_out_of_the_second_moment() -> None:
    """With the variance that was added, its average is that of the signal alone."""
    rng = np.random.default_rng(2)
    signal, size = 0.7, 200_000
    ours = dp_adamw(floor=1e-12, beta2=0.9)
    state = ours.init(size)
    for sd in (1.0, 2.0, 0.5, 1.5):  # another number of survivors, another variance
        noisy = signal + rng.normal(0, sd, size)
        _, state = ours.update(noisy, state, model=np.zeros(size), variance=sd**2)
    found = (state["second"] - state["noise"]) / (1 - 0.9 ** state["steps"])
    assert found.mean() == pytest.approx(signal**2, abs=0.03)
    assert (state["second"] / (1 - 0.9 ** state["steps"])).mean() > 2.0


def test_the_floor_bounds_steps_where_there_is_only_noise() -> None:
    ours = dp_adamw(lr=0.1, beta1=0.0, floor=0.04)
    mean = np.array([0.02, -0.1, 3.0])
    step, _ = ours.update(mean, ours.init(3), model=np.zeros(3), variance=1.0)
    assert step[:2] == pytest.approx(-0.1 * mean[:2] / 0.2)
    assert step[2] == pytest.approx(-0.1 * 3.0 / np.sqrt(9.0 - 1.0))


def test_decay_is_decoupled_from_the_gradient() -> None:
    ours = dp_adamw(lr=0.5, floor=1.0, decay=0.2)
    model = np.array([2.0, -4.0])
    step, _ = ours.update(np.zeros(2), ours.init(2), model=model, variance=0.0)
    assert step == pytest.approx(-0.1 * model)


@pytest.mark.parametrize("noise", [Noise.DISTRIBUTED, Noise.CENTRAL, Noise.NONE])
def test_optimisers_are_told_the_variance_that_was_added(make_plan, noise) -> None:
    """With devices' noise each survivor adds a share; an aggregator adds the least."""
    plan = make_plan(noise=noise)
    stage = plan.training
    wanted = {
        Noise.DISTRIBUTED: 4 * stage.share_variance,
        Noise.CENTRAL: stage.noise_variance_grid,
        Noise.NONE: 0,
    }[noise]
    assert stage.noise_variance(4) == float(wanted) * stage.grid.step**2
    least = float(stage.noise_variance_grid) * stage.grid.step**2
    assert stage.noise_variance(plan.min_survivors) >= least


def test_a_round_tells_its_optimiser_the_variance_of_its_own_mean(make_plan) -> None:
    plan, told = make_plan(noise=Noise.DISTRIBUTED), []

    def update(gradient, state, *, model, variance):
        told.append((variance, model.copy()))
        return np.ones_like(gradient), state

    spy = Optimiser("spy", lambda size: {}, update)
    run_round(
        1,
        start(np.zeros(3), spy),
        plan=plan,
        optimiser=spy,
        average_last=0.0,
        gather=lambda number, model: Noisy(np.array([1, 2, 3]), 4),
        journal=SimpleNamespace(pending=lambda n: None, settle=lambda state: None),
    )
    ((variance, model),) = told
    assert variance == plan.training.noise_variance(4) / plan.divisor**2 > 0
    assert model.tolist() == [0, 0, 0]
