"""Every lie of a malicious server fails, and works where its defence is taken away."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lies import table, zygote
from tests.lies.catalogue import CATALOGUE
from tests.lies.invitation import CLIENT
from tests.lies.keys import SECOND_ANSWER
from tests.lies.lie import tell

HERE = Path(__file__).parent
WAIT_S = 2 * zygote.LIMIT_S
ASKED_FOR = {
    "substituted keys at each leg": (
        "a_substituted_sealing_key",
        "a_substituted_mask_key",
        "a_substituted_commitment",
        "the_victims_own_advert_replaced",
    ),
    "both kinds of share": ("both_kinds_of_share", "shares_for_a_second_list"),
    "split survivor views": ("two_groups_with_two_lists", "a_second_list_of_survivors"),
    "two descriptors for one round": ("two_descriptors_for_one_round",),
    "shrunken cohort": ("a_shrunken_cohort", "fewer_survivors"),
    "threshold 1": ("a_threshold_of_one", "a_threshold_that_two_lists_reach"),
    "replayed round": ("a_replayed_round", "asked_again_as_if_lost"),
    "two models in one round": ("two_models_in_one_round",),
    "a fork of the ledger chain": ("a_fork_of_the_ledger",),
    "rollback": ("a_ledger_rolled_back",),
    "changed parameters after signing": ("terms_changed_after_signing",),
    "oversized and truncated messages": (
        "invitations_cut_or_lengthened",
        "adverts_cut_or_lengthened",
        "deliveries_cut_or_lengthened",
        "survivors_cut_or_lengthened",
        "agreements_cut_or_lengthened",
        "certificates_cut_or_lengthened",
    ),
    "low-order points": ("a_sealing_key_of_low_order", "a_mask_key_of_low_order"),
    "share index 0 or repeated": ("a_share_of_index_0_or_twice",),
    "wrong AAD": ("sealed_for_another_holder", "sealed_for_another_round"),
    "swapped direction": (
        "shares_sent_back_to_their_dealer",
        "both_directions_compared",
    ),
    "bit flips in each field class": (
        "bits_of_the_invitation",
        "bits_of_the_adverts",
        "bits_of_a_parcel",
        "bits_of_the_delivery",
        "bits_of_the_survivors",
        "bits_of_the_agreements",
        "bits_of_the_tombstones",
    ),
    "unsigned or expired roster entries": (
        "an_entry_that_nobody_signed",
        "an_expired_roster",
    ),
    "Sybils beyond the organisation cap": ("sybils_of_one_organisation",),
    "abort after uploads and re-run": ("told_aborted_and_opened_all_the_same",),
    "selective drops aimed at one client": (
        "selective_drops_around_one_device",
        "a_round_with_the_victim_and_one_without",
    ),
    "a model crafted to crash": ("a_model_that_crashes_on_certain_records",),
    "a second leg-3 request": ("a_second_list_of_survivors",),
    "a late tombstone": (
        "a_tombstone_after_the_release",
        "a_release_after_the_tombstone",
    ),
    "a roster signed by the server itself": (
        "a_roster_signed_by_the_server",
        "the_server_as_the_authority",
    ),
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_lie_fails(name) -> None:
    tell(CATALOGUE[name])


@pytest.fixture(scope="module")
def told_without():
    """What becomes of a lie where its defence, or something else, is taken away."""
    command = [sys.executable, str(HERE / "zygote.py")]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads,
    ) as process:

        def ask(name, changes=None):
            process.stdin.write(json.dumps([name, changes]) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], WAIT_S)
            assert ready, f"{name}: no answer in {WAIT_S} s"
            return process.stdout.readline().strip()

        yield ask
        process.kill()


@pytest.mark.parametrize("name", CATALOGUE)
def test_without_its_defence_the_lie_works(told_without, name) -> None:
    answer = told_without(name)
    assert answer.startswith("accepted: "), answer


def test_what_is_no_defence_can_be_taken_away(told_without) -> None:
    """Else a runner that always says "accepted" would do."""
    idle = (CLIENT, 'ACKNOWLEDGED = b""', "ACKNOWLEDGED = bytes()")
    assert told_without("a_second_upload", [idle]) == "held"


def test_a_lie_that_fails_for_another_reason_has_not_worked(told_without) -> None:
    """One of two defences is left: the error is not the one that was expected."""
    answer = told_without("a_second_upload", [SECOND_ANSWER])
    assert answer.startswith("failed: AssertionError: refused for another reason")


def test_a_line_that_has_moved_is_an_error(told_without) -> None:
    gone = (CLIENT, "no such line", "")
    twice = (CLIENT, "raise MessageError(", "")
    for change in (gone, twice):
        answer = told_without("a_second_upload", [change])
        assert answer.startswith(f"failed: LookupError: {CLIENT} has ")


def test_as_many_lies_as_were_asked_for() -> None:
    assert len(CATALOGUE) >= 40
    assert {name for names in ASKED_FOR.values() for name in names} <= set(CATALOGUE)


def test_every_lie_says_what_it_is() -> None:
    for lie in CATALOGUE.values():
        assert all((lie.tries, lie.wins, lie.defence, lie.without)), lie.name
        assert lie.tries.endswith("."), lie.name
        assert lie.needle or lie.because or lie.name.startswith("bits_of"), lie.name


def test_the_page_is_the_catalogue() -> None:
    """Otherwise run ``python tests/lies/table.py --write``."""
    assert table.refreshed() == table.PAGE.read_text(encoding="utf-8")
