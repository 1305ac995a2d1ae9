"""Each loss against a second one, written from its formula in high precision.

The formulas below are plain mpmath on one record, with 30 digits; nothing of torch or
of the package is in them. Where torch has the function itself, that is a third one.
"""

import mpmath as mp
import pytest
import torch
from torch.nn import functional as F

from fedpref import objectives
from fedpref.core.types import Unit
from fedpref.objectives import Takes

RECORDS = 12
mp.mp.dps = 30


def loaded(name, **hyper):
    return objectives.load(name, hyper, unit=Unit.USER, private=False)


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def log_sigmoid(x):
    return mp.log(sigmoid(x))


def straight_after(f, x, edge):
    """f up to the edge, from there its tangent; the slope is taken numerically."""
    if x <= edge:
        return f(x)
    return f(edge) + mp.diff(f, edge) * (x - edge)


def straight_beyond(f, x, clamp):
    """As above for an even function, on both sides."""
    return straight_after(f, abs(x), clamp)


class Row:
    """One record: numbers for lists of options, the chosen one first."""

    def __init__(self, given, i, hyper):
        def options(key):
            return [mp.mpf(x) for x in given[key][i].tolist()]

        chosen = int(given["choice"][i]) if "choice" in given else 0
        self.order = {}
        for key in ("scores", "policy", "reference", "lengths"):
            if key in given:
                values = options(key)
                self.order[key] = [values.pop(chosen), *values]
        self.given, self.i, self.hyper = given, i, hyper

    def __getattr__(self, name):
        if name in self.order:
            return self.order[name]
        if name in self.hyper:
            return mp.mpf(self.hyper[name])
        return self.given[name][self.i]

    @property
    def ratios(self):
        both = zip(self.policy, self.reference, strict=True)
        return [p - q for p, q in both]

    @property
    def per_token(self):
        both = zip(self.policy, self.lengths, strict=True)
        return [p / n for p, n in both]

    def rows(self, same_user=False):
        """This call's records, or those of the same user."""
        count = len(self.given["choice" if "choice" in self.given else "label"])
        own = self.given.get("group")
        rows = [Row(self.given, j, self.hyper) for j in range(count)]
        return [r for r in rows if not same_user or own[r.i] == own[self.i]]


def mean(values):
    values = list(values)
    return mp.fsum(values) / len(values)


def over_pairs(values, term):
    won, *lost = values
    return mp.fsum(term(won, other) for other in lost)


def bt_of(r):
    return over_pairs(r.scores, lambda w, v: -log_sigmoid(w - v))


def bt(r):
    def term(w, v):
        d = w - v - r.margin
        return -(1 - r.smoothing) * log_sigmoid(d) - r.smoothing * log_sigmoid(-d)

    return over_pairs(r.scores, term)


def plackett_luce(r):
    return -mp.log(mp.exp(r.scores[0]) / mp.fsum(map(mp.exp, r.scores)))


def hinge(r):
    return over_pairs(r.scores, lambda w, v: max(mp.mpf(0), r.margin - (w - v)))


def logit_norm(r):
    def term(w, v):
        return -log_sigmoid((w - v) / mp.sqrt(w**2 + v**2 + r.floor**2))

    return over_pairs(r.scores, term)


def dr(r):
    won, *lost = r.scores
    return bt_of(r) - log_sigmoid(won) - mp.fsum(log_sigmoid(-v) for v in lost)


def bsr_batch(r):
    rewards = [x for other in r.rows() for x in other.scores]
    return bt_of(r) + r.strength * len(r.rows()) * mean(rewards) ** 2


def bsr_user(r):
    rewards = [x for other in r.rows(same_user=True) for x in other.scores]
    return bt_of(r) + r.strength * straight_beyond(
        lambda x: x**2, mean(rewards), r.clamp
    )


def bsr_lagged(r):
    released = max(-r.bound, min(r.bound, mp.mpf(float(r.given["previous"][0]))))
    return bt_of(r) + 2 * r.strength * released * mean(r.scores)


def bsr_pair(r):
    def term(w, v):
        return r.strength * straight_beyond(lambda x: x**2, w + v, r.clamp)

    return bt_of(r) + over_pairs(r.scores, term)


def reward_norm(r):
    pulls = (straight_beyond(lambda x: x**2, s, r.clamp) for s in r.scores)
    return bt_of(r) + r.strength * mp.fsum(pulls)


def dpo(r):
    return over_pairs(r.ratios, lambda w, v: -log_sigmoid(r.beta * (w - v)))


def ipo(r):
    ratios = [s / n for s, n in zip(r.ratios, r.lengths, strict=True)]

    def term(w, v):
        return straight_beyond(lambda x: x**2, w - v - 1 / (2 * r.tau), r.clamp)

    return over_pairs(ratios, term)


def simpo(r):
    return over_pairs(
        r.per_token, lambda w, v: -log_sigmoid(r.beta * w - r.beta * v - r.gamma)
    )


def orpo(r):
    def log_odds(a):
        return straight_after(odds, a, -r.gap)

    def odds(a):
        return mp.log(mp.exp(a) / (1 - mp.exp(a)))

    def term(w, v):
        return -r.strength * log_sigmoid(log_odds(w) - log_odds(v))

    return -r.per_token[0] + over_pairs(r.per_token, term)


def robust_dpo(r):
    def term(w, v):
        d, p = r.beta * (w - v), r.flip
        return (-(1 - p) * log_sigmoid(d) + p * log_sigmoid(-d)) / (1 - 2 * p)

    return over_pairs(r.ratios, term)


def chi_po(r):
    def phi(s):
        return straight_after(mp.exp, s, r.clamp) + s

    def term(w, v):
        d = r.beta * phi(w) - r.beta * phi(v)
        return -log_sigmoid(max(-2 * r.reward, min(2 * r.reward, d)))

    return over_pairs(r.ratios, term)


def infopo(r):
    pushed = over_pairs(r.ratios, lambda _, v: straight_after(mp.exp, v, r.clamp))
    return -r.policy[0] + pushed


def sft(r):
    return -r.policy[0] / r.lengths[0]


def kto(r, zero):
    s = r.ratios[0]
    if r.label:
        return r.desirable * (1 - sigmoid(r.beta * (s - zero)))
    return r.undesirable * (1 - sigmoid(r.beta * (zero - s)))


def kto_zero(r):
    return kto(r, 0)


def kto_user(r):
    own = [mp.mpf(float(other.mismatched)) for other in r.rows(same_user=True)]
    return kto(r, max(mp.mpf(0), mean(own)))


def kto_batch(r):
    everybody = [mp.mpf(float(other.mismatched)) for other in r.rows()]
    return kto(r, max(mp.mpf(0), mean(everybody)))


def kto_lagged(r):
    return kto(r, max(mp.mpf(0), min(r.bound, mp.mpf(float(r.given["previous"][0])))))


def ddro(r):
    """From the divergence itself: E+[f'(g) g - f(g)] - E-[f'(g)]."""

    def f(g):
        return g * mp.log(g) - (1 + g) * mp.log(1 + g)

    def ratio(s):
        return (mp.exp(-s) - r.share) / (1 - r.share)

    def up(s):
        return mp.diff(f, ratio(s)) * ratio(s) - f(ratio(s))

    def down(s):
        return -mp.diff(f, ratio(s))

    edge = -mp.log(r.share) - r.gap
    return straight_after(up if r.label else down, r.ratios[0], edge)


def rdro(r):
    s, softplus = r.ratios[0], mp.log(1 + mp.exp(r.ratios[0]))
    return (1 + r.share) * softplus - s if r.label else (1 - r.share) * softplus


def bco(r):
    logit = r.beta * r.ratios[0] - r.shift
    return -log_sigmoid(logit if r.label else -logit)


def parm(r):
    total = mp.mpf(0)
    for label, weight in zip(r.labels.tolist(), r.preference.tolist(), strict=True):
        if label >= 0:
            won, lost = r.policy[label], r.policy[1 - label]
            total -= mp.mpf(weight) * log_sigmoid(r.beta * (won - lost) - r.margin)
    return total


NAMES = objectives.names()
SECOND = {name: globals().get(name) for name in NAMES}


def inputs(name, spread, seed):
    g = torch.Generator().manual_seed(seed)
    takes = objectives.about(name).takes
    options = {Takes.CHOICE: 3, Takes.THUMB: 1}.get(takes, 2)

    def normal(*shape):
        return spread * torch.randn(shape, generator=g, dtype=torch.float64)

    weights = torch.rand((RECORDS, 3), generator=g, dtype=torch.float64)
    made = {
        "scores": normal(RECORDS, options),
        "policy": normal(RECORDS, options) - spread,
        "reference": normal(RECORDS, options) - spread,
        "lengths": torch.randint(1, 5, (RECORDS, options), generator=g),
        "choice": torch.randint(0, options, (RECORDS,), generator=g),
        "label": torch.randint(0, 2, (RECORDS,), generator=g),
        "labels": torch.randint(-1, 2, (RECORDS, 3), generator=g),
        "preference": weights / weights.sum(1, keepdim=True),
        "mismatched": normal(RECORDS) + 1,
        "group": torch.randint(0, 4, (RECORDS,), generator=g),
        "previous": normal(1),
    }
    return {key: made[key] for key in loaded(name).needs}


OTHER = {
    "bt": {"margin": 0.4, "smoothing": 0.2},
    "hinge": {"margin": 2.5},
    "logit_norm": {"floor": 0.7},
    "bsr_batch": {"strength": 0.3},
    "bsr_user": {"strength": 0.7, "clamp": 0.2},
    "bsr_lagged": {"strength": 0.7, "bound": 0.3},
    "bsr_pair": {"strength": 0.7, "clamp": 0.9},
    "reward_norm": {"strength": 0.7, "clamp": 0.9},
    "dpo": {"beta": 0.7},
    "ipo": {"tau": 0.6, "clamp": 0.5},
    "simpo": {"beta": 1.1, "gamma": 0.0},
    "orpo": {"strength": 0.9, "gap": 0.6},
    "robust_dpo": {"beta": 0.7, "flip": 0.3},
    "chi_po": {"beta": 0.8, "reward": 0.5, "clamp": -0.3},
    "infopo": {"clamp": -0.4},
    "kto_zero": {"beta": 0.9, "desirable": 1.4, "undesirable": 0.6},
    "kto_user": {"beta": 0.9, "desirable": 1.4, "undesirable": 0.6},
    "kto_batch": {"beta": 0.9, "desirable": 1.4, "undesirable": 0.6},
    "kto_lagged": {"beta": 0.9, "desirable": 1.4, "undesirable": 0.6, "bound": 0.2},
    "ddro": {"share": 0.7, "gap": 0.4},
    "rdro": {"share": 0.2},
    "bco": {"beta": 0.6, "shift": -0.8},
    "parm": {"beta": 0.4, "margin": 0.3},
}


def test_every_objective_has_a_second_implementation() -> None:
    assert [name for name in NAMES if SECOND[name] is None] == []
    with_keywords = {name for name in NAMES if objectives.hyper_parameters(name)}
    assert set(OTHER) == with_keywords


@pytest.mark.parametrize(
    ("name", "hyper"), [(name, {}) for name in NAMES] + list(OTHER.items())
)
def test_agrees_with_the_formula(name, hyper) -> None:
    objective = loaded(name, **hyper)
    for seed, spread in enumerate((1.0, 6.0)):
        given = inputs(name, spread, seed)
        found = objective.loss(**given).tolist()
        for i, value in enumerate(found):
            expected = float(SECOND[name](Row(given, i, objective.hyper)))
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


# --- functions that torch has -------------------------------------------------------


def pair(seed=3, rows=40):
    g = torch.Generator().manual_seed(seed)
    values = 4 * torch.randn((rows, 2), generator=g, dtype=torch.float64)
    return values, torch.randint(0, 2, (rows,), generator=g)


def won_lost(values, choice):
    rows = torch.arange(len(values))
    return values[rows, choice], values[rows, 1 - choice]


def test_plackett_luce_is_cross_entropy() -> None:
    g = torch.Generator().manual_seed(1)
    scores = torch.randn((9, 5), generator=g, dtype=torch.float64)
    choice = torch.randint(0, 5, (9,), generator=g)
    expected = F.cross_entropy(scores, choice, reduction="none")
    torch.testing.assert_close(loaded("plackett_luce").loss(scores, choice), expected)


def test_smoothed_pairs_are_smoothed_binary_cross_entropy() -> None:
    scores, choice = pair()
    won, lost = won_lost(scores, choice)
    target = torch.full_like(won, 0.9)
    expected = F.binary_cross_entropy_with_logits(won - lost, target, reduction="none")
    found = loaded("bt", smoothing=0.1).loss(scores, choice)
    torch.testing.assert_close(found, expected)


def test_hinge_is_margin_ranking() -> None:
    scores, choice = pair()
    won, lost = won_lost(scores, choice)
    expected = F.margin_ranking_loss(
        won, lost, torch.ones_like(won), margin=1.5, reduction="none"
    )
    torch.testing.assert_close(
        loaded("hinge", margin=1.5).loss(scores, choice), expected
    )


def test_clamped_squares_are_twice_the_huber_loss() -> None:
    scores, choice = pair()
    total = scores.sum(1)
    huber = F.huber_loss(total, 0 * total, delta=2.5, reduction="none")
    bt_alone = loaded("bt").loss(scores, choice)
    found = loaded("bsr_pair", strength=0.3, clamp=2.5).loss(scores, choice)
    torch.testing.assert_close(found, bt_alone + 0.3 * 2 * huber)
    each = F.huber_loss(scores, 0 * scores, delta=2.5, reduction="none").sum(1)
    found = loaded("reward_norm", strength=0.3, clamp=2.5).loss(scores, choice)
    torch.testing.assert_close(found, bt_alone + 0.3 * 2 * each)
    ones = torch.ones_like(scores)
    won, lost = won_lost(scores, choice)
    wanted = torch.full_like(won, 1.0)
    expected = 2 * F.huber_loss(won - lost, wanted, delta=2.5, reduction="none")
    ipo = loaded("ipo", tau=0.5, clamp=2.5).loss(scores, 0 * scores, ones, choice)
    torch.testing.assert_close(ipo, expected)


def test_dpo_is_the_log_sigmoid_of_the_difference() -> None:
    policy, choice = pair()
    base, _ = pair(seed=8)
    won, lost = won_lost(policy - base, choice)
    expected = -F.logsigmoid(0.1 * (won - lost))
    torch.testing.assert_close(loaded("dpo").loss(policy, base, choice), expected)


def test_bco_is_binary_cross_entropy() -> None:
    s, label = pair()
    expected = F.binary_cross_entropy_with_logits(
        0.1 * s[:, 0], label.double(), reduction="none"
    )
    found = loaded("bco").loss(s[:, :1], 0 * s[:, :1], label)
    torch.testing.assert_close(found, expected)


# --- what ties objectives to each other ---------------------------------------------


def test_bsr_batch_is_the_published_sum() -> None:
    """B times (mean BT + strength · B · m²) is also BT + strength (sum of r)² / 4."""
    scores, choice = pair()
    found = loaded("bsr_batch", strength=0.02).loss(scores, choice)
    expected = loaded("bt").loss(scores, choice).sum() + 0.02 * scores.sum() ** 2 / 4
    torch.testing.assert_close(found.sum(), expected)


def test_bsr_user_sums_to_the_loss_of_each_person() -> None:
    """n (mean BT + strength · m²) for a person of n records, whoever else is there."""
    scores, choice = pair(rows=7)
    group = torch.tensor([5, 5, 5, 0, 0, 5, 9])
    found = loaded("bsr_user", strength=0.3).loss(scores, choice, group)
    bt_alone = loaded("bt").loss(scores, choice)
    for user in (0, 5, 9):
        own = group == user
        n, m = own.sum(), scores[own].mean()
        expected = n * (bt_alone[own].mean() + 0.3 * m**2)
        torch.testing.assert_close(found[own].sum(), expected)


def test_the_lagged_gradient_is_that_of_the_squared_mean() -> None:
    """At a released mean that is the present one, and with everybody in the sum."""
    scores, choice = pair()
    leaf = scores.clone().requires_grad_()
    mean = leaf.mean()
    squared = loaded("bt").loss(leaf, choice).sum() + 0.2 * len(leaf) * mean**2
    (expected,) = torch.autograd.grad(squared, leaf)
    leaf = scores.clone().requires_grad_()
    lagged = loaded("bsr_lagged", strength=0.2)
    previous = scores.mean()[None]
    (found,) = torch.autograd.grad(lagged.loss(leaf, choice, previous).sum(), leaf)
    torch.testing.assert_close(found, expected)
    sent = lagged.statistic(scores=scores).mean() / lagged.hyper["statistic_scale"]
    assert sent == pytest.approx(scores.mean().item(), abs=1)  # clipped at ±5


def test_robust_dpo_is_unbiased_for_turned_answers() -> None:
    policy, choice = pair()
    told, turned = (
        loaded("robust_dpo", flip=0.2).loss(policy, 0 * policy, c)
        for c in (choice, 1 - choice)
    )
    expected = loaded("dpo").loss(policy, 0 * policy, choice)
    torch.testing.assert_close(0.8 * told + 0.2 * turned, expected)


def test_kto_forms_agree_where_their_zeros_do() -> None:
    s, label = pair(rows=12)
    s, label = s[:, :1], label[:12]
    mismatched = torch.linspace(-1, 3, 12).double()
    one_user = torch.zeros(12).long()
    batch = loaded("kto_batch").loss(s, 0 * s, mismatched, label)
    user = loaded("kto_user").loss(s, 0 * s, mismatched, label, one_user)
    lagged = loaded("kto_lagged").loss(s, 0 * s, label, mismatched.mean()[None])
    zero = loaded("kto_zero").loss(s - 1.0, 0 * s, label)
    for other in (user, lagged, zero):
        torch.testing.assert_close(other, batch)


def test_no_gradient_flows_into_the_point_of_zero() -> None:
    s, label = pair(rows=4)
    mismatched = torch.ones(4, dtype=torch.float64, requires_grad=True)
    user = loaded("kto_user").loss(s[:, :1], s[:, 1:], mismatched, label, label)
    assert not user.requires_grad
    assert not loaded("kto_batch").loss(s[:, :1], s[:, 1:], mismatched, label).grad_fn


def test_ddro_is_stationary_at_the_liked_texts() -> None:
    """The base is the mixture; the policy that is p+ has no slope along p+ - p-."""
    p_up = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    p_down = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    base = (p_up + p_down) / 2
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    policy = p_up + step * (p_up - p_down)
    s = (policy / base).log()[:, None]
    ddro = loaded("ddro", gap=1e-3)
    up = ddro.loss(s, 0 * s, torch.ones(3))
    down = ddro.loss(s, 0 * s, torch.zeros(3))
    (slope,) = torch.autograd.grad((p_up * up + p_down * down).sum(), step)
    assert abs(slope) < 1e-12


def test_rdro_is_stationary_at_the_liked_texts() -> None:
    share = 0.3
    p_up = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    p_down = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    base = share * p_up + (1 - share) * p_down
    s = (p_up / base).log()[:, None].requires_grad_()
    rdro = loaded("rdro", share=share)
    up, down = (rdro.loss(s, 0 * s, torch.full((3,), x)) for x in (1, 0))
    total = (p_up * up + p_down * down).sum()
    (slope,) = torch.autograd.grad(total, s)
    assert slope.abs().max() < 1e-12


def test_parm_of_one_objective_is_a_pairwise_loss() -> None:
    policy, choice = pair()
    labels = torch.stack([choice, torch.full_like(choice, -1)], 1)
    weights = torch.full((len(policy), 2), 0.5, dtype=torch.float64)
    found = loaded("parm").loss(policy, labels, weights)
    expected = 0.5 * loaded("dpo", beta=0.01).loss(policy, 0 * policy, choice)
    torch.testing.assert_close(found, expected)
