"""Lies about whole rounds: two models, chosen models, chosen cohorts."""

from dataclasses import replace

import numpy as np

from fedpref.core.entropy import SeededEntropy
from fedpref.core.mask import apply_masks, unpack
from fedpref.rounds.contribution import contribute
from fedpref.secagg import client, legs
from fedpref.secagg.wire import Kind
from tests.lies.invitation import CLIENT
from tests.lies.keys import CRYPTO
from tests.lies.lie import Change, gained, harmless
from tests.lies.plans import COORDINATES, EVALUATION, plan
from tests.lies.scenes import VICTIM, cohort, invitation

CONTRIBUTION = "fedpref/rounds/contribution.py"


def uniform(values: np.ndarray, bits: int) -> bool:
    """Whether words look uniform: mean, and no bin of 16 far from its share.

    Bounds are of six standard errors: a false alarm in 10**8 runs.
    """
    part = values.astype(np.float64) / 2**bits
    mean = abs(part.mean() - 0.5) < 6 / np.sqrt(12 * part.size)
    counts = np.histogram(part, 16, (0, 1))[0]
    spread = np.abs(counts - part.size / 16).max() < 6 * np.sqrt(part.size / 16)
    return bool(mean and spread)


@harmless(
    "whole round",
    wins="the difference that one device makes, by a model that silences the others",
    defence="every key is derived from the round id, which is a digest of the model",
    because="masks of the two groups do not cancel: what is left is uniform",
    without=Change(CRYPTO, "length=32, salt=rid, info", "length=32, salt=None, info"),
)
def two_models_in_one_round() -> None:
    """One model for the victim and another for everybody else, in one sum.

    Adverts of the other round are refused in leg 1. Played as if they were not, and as
    if every mask seed had been opened.
    """
    told = cohort(5, 1200, t=4, min_survivors=4)
    told.vectors[:] = 1
    asked = dict.fromkeys(told.ids, invitation(told))
    told.model = told.model + 1
    asked[VICTIM] = invitation(told)
    found = {i: told.accepts(i, request) for i, request in asked.items()}
    everybody = {i: legs.decode_advert(found[i], asked[i][4:36]) for i in told.ids}
    total = np.zeros(told.coordinates, np.uint32)
    for i in told.ids:
        session = replace(told.devices[i].session, adverts=everybody)
        others = tuple(j for j in told.ids if j != i)
        masked = client._masked(session, told.around(i), others)
        total += unpack(masked, told.word_bits, told.coordinates)
    seeds = [told.devices[i].session.secrets.seed for i in told.ids]
    apply_masks(total, subtract=seeds)
    total &= np.uint32(2**told.word_bits - 1)
    gained(bool((total == len(told.ids)).all()), "the sum over two models")
    assert uniform(total, told.word_bits)


def made(number=1, *, gradient, model=None, **change):
    """The contribution of device 1 in a plan of three rounds."""
    return contribute(
        number,
        np.zeros(COORDINATES) if model is None else model,
        device=1,
        plan=plan(),
        gradient=gradient,
        entropy=SeededEntropy(1),
        **change,
    )


def crashes(vector):
    """What a model does that fails on somebody's records."""
    raise FloatingPointError("token 17")


CRAFTED = {
    "raises": crashes,
    "is empty": lambda vector: np.zeros((0, 1)),
    "is not a number": lambda vector: np.full((1, COORDINATES), np.nan),
    "is infinite": lambda vector: np.full((1, COORDINATES), np.inf),
    "has another length": lambda vector: np.zeros((1, 2)),
    "has more people": lambda vector: np.zeros((3, COORDINATES)),
}


@harmless(
    "whole round",
    wins="who has a certain record: the device that is silent, slow or short",
    defence="whatever goes wrong in the data becomes zeros, with the same noise",
    because="the answer has the same size, and is that of an empty device to the bit",
    without=Change(
        CONTRIBUTION,
        "    except Exception:\n        return nothing, True",
        "    except ZeroDivisionError:\n        return nothing, True",
    ),
)
def a_model_that_crashes_on_certain_records() -> None:
    """A model on which the gradient of some records fails, in one way or another."""
    nothing = made(gradient=lambda vector: np.zeros((1, COORDINATES)))
    assert nothing.update.any(), "noise alone"
    for how, gradient in CRAFTED.items():
        try:
            found = made(gradient=gradient)
        except Exception as error:
            gained(True, f"a device is silent where a gradient {how}: {error!r}")
        same = np.array_equal(found.update, nothing.update)
        gained(not same, f"another answer where a gradient {how}")
        assert found.failed


@harmless(
    "whole round",
    wins="one person's gradient, longer than all the noise",
    defence="each unit is clipped to the plan's bound, and rounded within it",
    because="without its noise, no answer is longer than the plan's bound",
    without=(
        Change(
            CONTRIBUTION,
            "    clipped = clip_units(rows, mine.length)",
            "    clipped = clip_units(rows, 9 * mine.length)",
        ),
        Change(
            CONTRIBUTION,
            "        clipped, stage.grid, mine.square, key=",
            "        clipped, stage.grid, 99 * mine.square, key=",
        ),
    ),
)
def a_model_with_huge_gradients() -> None:
    """Weights that make one record's gradient 10**9 times as long as others."""
    stage = plan().stage(1)
    zero = made(gradient=lambda vector: np.zeros((1, COORDINATES))).update
    for size in (1.0, 1e3, 1e9, 1e300):
        long = np.full((1, COORDINATES), size)
        update = made(gradient=lambda vector, long=long: long).update - zero
        square = int(np.square(update).sum())
        gained(square > stage.sensitivity_squared, "a contribution beyond its bound")
        assert square > stage.sensitivity_squared / 4


@harmless(
    "whole round",
    wins="statistics of held-back records in every round of training",
    defence="the number of the request alone decides which question is answered",
    because="under a training number the gradient is the answer, whatever the model",
    without=Change(
        CONTRIBUTION,
        "    if stage.purpose is Purpose.EVALUATION:",
        "    if statistics is not None:",
    ),
)
def an_evaluation_as_a_round_of_training() -> None:
    """The model that is to be evaluated, sent under the number of a training round."""
    asked = []

    def statistics(vector):
        asked.append(vector)
        return np.ones(3)

    def gradient(vector):
        return vector[None]

    model = np.linspace(-1, 1, COORDINATES)
    both = made(3, gradient=gradient, model=model, statistics=statistics)
    gained(bool(asked), "held-back records were asked in a round of training")
    alone = made(3, gradient=gradient, model=model)
    assert np.array_equal(both.update, alone.update)
    made(EVALUATION, gradient=gradient, model=model, statistics=statistics)
    assert asked


@harmless(
    "whole round",
    wins="the victim's contribution: a sum with it less a sum without it",
    defence="noise of every device is drawn anew in every round",
    because="the difference has the noise of both sums: more than what was priced",
    without=Change(
        CONTRIBUTION,
        "{purpose}/{plan.digest.hex()}/{number}/{device}",
        "{purpose}/{plan.digest.hex()}/{device}",
    ),
)
def a_round_with_the_victim_and_one_without() -> None:
    """The same model twice, with the victim's upload counted as lost once."""
    sealed = plan()

    def answer(number, device):
        return contribute(
            number,
            np.zeros(COORDINATES),
            device=device,
            plan=sealed,
            gradient=lambda vector: np.full((1, COORDINATES), 0.1 * device),
            entropy=SeededEntropy(1),
        ).update

    with_it = sum(answer(1, device) for device in range(1, 6))
    without = sum(answer(2, device) for device in range(1, 5))
    left = with_it - without
    gained(np.array_equal(left, answer(1, 5)), "the upload of the victim alone")
    # eight shares of noise are left, four of each round; in multiples of one
    size = np.sqrt(np.square(left - answer(1, 5)).mean() / sealed.share_variance)
    assert size > 1


@harmless(
    "whole round",
    wins="who has many records, or hard ones: longer or more messages",
    defence="every message has the length that the terms give, whatever is in it",
    because="lengths and number of replies are the same for every contribution",
    without=Change(
        CLIENT,
        "    return pack(words, terms.word_bits)",
        "    return pack(words, 32 if values.any() else terms.word_bits)",
    ),
)
def sizes_compared() -> None:
    """The lengths of all replies, of devices with records and without."""
    found = set()
    for values in (0, 1, 2**23 - 1, -(2**23)):
        told = cohort(4, 50, t=3, min_survivors=3)
        told.vectors[0] = values
        _, requests = told.reach(2)
        upload = told.accepts(1, requests[1])
        dealt = told.devices[1].session.replies[Kind.ADVERTS][1]
        found.add((len(dealt), len(upload)))
    gained(len(found) > 1, f"lengths {sorted(found)}")
