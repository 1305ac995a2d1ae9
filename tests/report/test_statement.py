import json
import math
import re

import numpy as np
import pytest

from fedpref.core.types import Noise, Unit
from fedpref.report.run import read
from fedpref.report.statement import (
    AS_IF,
    BARE,
    OWN_LEDGER,
    SEEDED,
    UNITS,
    WORDS,
    best_guess,
    statement,
)

INFINITE = {"server": "inf", "outsider": "inf"}


def test_central(run):
    found = statement(read(run))
    assert found["summary"] == [
        OWN_LEDGER,
        "The server sees every update: against it nothing is promised "
        "(epsilon = infinite).",
        "Against everybody who sees only the released model: epsilon 1.00 at delta "
        "1e-5 per person.",
    ]
    server, outsider = found["adversaries"]["server"], found["adversaries"]["outsider"]
    assert (server["epsilon"], server["delta"], server["holds"]) == ("inf", None, False)
    assert server["protects"] is None
    assert (outsider["epsilon"], outsider["delta"]) == (0.9999, 1e-5)
    assert outsider["holds"]
    assert outsider["accountant"] == "exact"
    assert found["private"]
    assert found["enforced_by_ledger"] is True
    assert found["audit"] is None
    assert found["relation"] == "zero-out"
    assert found["sampler"].startswith("none")
    assert found["trusted"]["server"].startswith("every update")
    assert found["mechanism"]["rounds_run"] == found["mechanism"]["rounds_planned"]
    json.dumps(found, allow_nan=False)


def test_distributed(make_distributed):
    found = statement(read(make_distributed()))
    assert found["summary"] == [
        OWN_LEDGER,
        "Against the server, even one that lies and has 30 of the devices on its side: "
        "epsilon 1.00 at delta 1e-5 per person.",
        "Against everybody who sees only the released model: epsilon 1.00 at delta "
        "1e-5 per person.",
    ]
    server = found["adversaries"]["server"]
    assert (server["epsilon"], server["delta"], server["holds"]) == (0.9999, 1e-5, True)
    assert server["accountant"] == "comparison+exact"
    assert server["sees"].startswith("masked vectors")
    assert server["protects"].startswith("secure aggregation that the devices check")
    assert server["best_guess"] < 0.74
    text = " ".join(found["assumptions"])
    assert "at most 30 of the devices in a round are bad" in text
    assert "at least 264 uploads are in every sum" in text
    assert "authority that is not the server" in text
    assert found["trusted"]["server"].startswith("nothing about the answers")
    assert found["trusted"]["devices"].startswith("all but 30")
    assert AS_IF not in found["not_protected"]
    assert found["masked"]
    assert found["private"]
    whole = json.dumps(found)
    assert "every update" not in whole
    assert not re.search(r"[{}]", " ".join(strings(found)))  # no gap left unfilled
    mechanism = found["mechanism"]
    assert (mechanism["colluders"], mechanism["threshold"]) == (30, 162)
    assert (mechanism["spare_rounds"], mechanism["sampling_prob"]) == (2, 1.0)


def strings(value):
    """Every text in a statement."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        for item in inside:
            yield from strings(item)


def test_without_masks_the_servers_epsilon_is_no_promise(make_distributed):
    found = statement(read(make_distributed(masked=False)))
    server, outsider = found["adversaries"]["server"], found["adversaries"]["outsider"]
    assert found["summary"][1] == (
        "Against the server, as if run with the protocol, even one that lies and has "
        "30 of the devices on its side: epsilon 1.00 at delta 1e-5 per person. This "
        "run summed without masks, so it is a figure for the plan only."
    )
    assert (server["epsilon"], server["holds"]) == (0.9999, False)
    assert server["best_guess"] == 1.0
    assert server["sees"].startswith("in this run, which summed without masks, every")
    assert server["protects"].startswith("nothing in this run")
    assert found["trusted"]["server"].startswith("in this run, every contribution")
    assert outsider["holds"]
    assert found["private"]  # to outsiders
    assert found["not_protected"][0] == AS_IF
    assert not found["masked"]


def test_nothing_is_promised_against_the_server_among_drawn_neighbours(
    make_distributed,
):
    found = statement(
        read(make_distributed(epsilon={"server": "inf", "outsider": 0.9999}))
    )
    assert "nothing is promised (epsilon = infinite)" in found["summary"][1]
    assert not found["adversaries"]["server"]["holds"]
    assert found["adversaries"]["outsider"]["holds"]


def test_a_seed_takes_both_promises_of_distributed_noise_away(make_distributed):
    found = statement(read(make_distributed(seeded=True)))
    assert not any(who["holds"] for who in found["adversaries"].values())
    assert sum("nothing is promised" in line for line in found["summary"]) == 2


def test_a_seed_takes_the_promise_away(make_run):
    found = statement(read(make_run(plan={"seeded": True})))
    assert found["summary"][:2] == [OWN_LEDGER, SEEDED]
    assert "nothing is promised" in found["summary"][-1]
    assert not found["private"]
    assert not found["adversaries"]["outsider"]["holds"]
    assert found["adversaries"]["outsider"]["best_guess"] == 1.0
    assert "seed" in found["not_protected"][0]


def shared(**other):
    ledger = {"own": False, "population": "p", "window": "2026", "cap": 2.0}
    ledger |= {"cap_delta": 1e-4, "currency": "sealed", **other}
    return {"ledger": ledger, "ledger_file": "/home/somebody/people.db"}


def test_a_shared_ledger_is_named_with_its_cap_and_without_its_folder(make_run):
    found = statement(read(make_run(plan=shared())))
    assert found["summary"][0] == (
        "Enforced by a ledger that runs on p (2026) share: together they may cost "
        "epsilon 2.00 at delta 1e-4 per person against the outsider; more is refused."
    )
    assert found["ledger"]["file"] == "people.db"
    assert found["ledger"]["currency"] == "sealed"
    assert "/home" not in json.dumps(found)


def test_a_shared_ledger_without_a_cap_limits_nothing(make_run):
    found = statement(read(make_run(plan=shared(cap="inf"))))
    assert found["summary"][0] == (
        "Booked in a ledger that runs on p (2026) share: it sets no limit, so more "
        "runs may be added without end."
    )
    assert found["ledger"]["cap"] == "inf"


def test_every_unit_has_its_words() -> None:
    assert set(UNITS) == set(Unit)


def test_no_noise_promises_nothing(make_run):
    plan = {"noise": "none", "epsilon": INFINITE, "target_epsilon": None}
    found = statement(read(make_run(plan=plan)))
    assert not found["private"]
    assert [who["epsilon"] for who in found["adversaries"].values()] == ["inf", "inf"]
    assert [who["protects"] for who in found["adversaries"].values()] == [None, None]
    assert found["summary"][0] == BARE
    assert sum("epsilon = infinite" in line for line in found["summary"]) == 2
    text = json.dumps(found)
    assert "what they contribute is" not in text
    assert found["target_epsilon"] is None


def test_unit_record_says_that_people_are_protected_less(make_run):
    found = statement(read(make_run(plan={"unit": "record"})))
    assert found["summary"][-1].endswith("per record.")
    assert found["not_protected"][0].startswith("a person as a whole")


def test_every_noise_has_its_own_words():
    assert set(WORDS) == set(Noise)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.3, 0.0), (1.0, 1e-2), (4.0, 1e-5)])
def test_best_guess_is_reached_by_the_worst_mechanism(epsilon, delta):
    # the mechanism that dominates all (epsilon, delta) ones: with delta it tells all,
    # otherwise it is randomised response (Kairouz, Oh and Viswanath 2015)
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    used = np.array([delta, (1 - delta) * keep, (1 - delta) * (1 - keep), 0])
    zero = used[::-1]
    right = np.maximum(used, zero).sum() / 2
    assert best_guess(epsilon, delta) == pytest.approx(right)
    assert np.all(used - np.exp(epsilon) * zero <= delta + 1e-12)


def test_best_guess_is_safe_for_the_gaussian_mechanism():
    # at mu = 1 the Gaussian is (1, 0.1269)-private; its true best guess is lower
    from scipy.stats import norm

    mu, epsilon = 1.0, 1.0
    delta = norm.cdf(mu / 2 - epsilon / mu) - math.e**epsilon * norm.cdf(
        -mu / 2 - epsilon / mu
    )
    assert norm.cdf(mu / 2) <= best_guess(epsilon, delta)
