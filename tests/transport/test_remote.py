"""Devices behind other processes' nodes: who is where, and keys from files."""

import os
from types import SimpleNamespace

import pytest
from flwr.app import Error

from fedpref.errors import MessageError, SetupError
from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.simulation import elsewhere
from fedpref.transport.flower.exchange import Wait
from fedpref.transport.flower.remote import meet, remote

FIRST = wire.message(Kind.DESCRIPTOR, bytes(32))
LATER = wire.message(Kind.SURVIVORS, bytes(32))


@pytest.fixture
def wait(clock):
    return Wait(seconds=60.0, interval=0.5, clock=clock.read, sleep=clock.sleep)


def carrying(**devices):
    """Nodes that say for which device they carry, and answer with their own number."""
    said = {int(node[1:]): device for node, device in devices.items()}

    def answer(node, data):
        if data:
            return b"from %d" % node
        found = said.get(node)
        return found.to_bytes(4, "little") if isinstance(found, int) else found

    return answer


def test_nodes_are_found_by_their_devices(make_grid, wait, clock) -> None:
    devices, asked = {}, set()
    grid = make_grid(carrying(n101=2, n102=1, n103=9))
    meet(grid, devices, asked, {1, 2}, wait=wait, patient=True)
    assert devices == {101: 2, 102: 1, 103: 9}
    assert clock.slept == []
    meet(grid, devices, asked, {1, 2, 9}, wait=wait, patient=True)
    assert len(grid.pushes) == 1  # nobody is asked again
    assert {m.metadata.message_type for m in grid.pushes[0]} == {"query.device"}


@pytest.mark.parametrize("said", [b"", b"\1", b"\1\0\0\0\0", Error(1), None])
def test_a_node_that_does_not_say_is_left_out_in_time(
    make_grid, wait, clock, said
) -> None:
    devices, asked = {}, set()
    grid = make_grid(carrying(n101=1, n102=said, n103=3))
    meet(grid, devices, asked, {1, 2, 3}, wait=wait, patient=True)
    assert devices == {101: 1, 103: 3}
    assert clock.now == pytest.approx(1060.0)  # and asked once only
    assert sum(m.metadata.dst_node_id == 102 for p in grid.pushes for m in p) == 1


def test_nodes_that_come_late_are_awaited(make_grid, wait, clock, monkeypatch) -> None:
    grid, devices, asked = make_grid(carrying(n101=1, n102=2)), {}, set()
    monkeypatch.setattr(
        grid, "get_node_ids", lambda: [101] if clock.now < 1010 else [101, 102]
    )
    meet(grid, devices, asked, {1, 2}, wait=wait, patient=True)
    assert devices == {101: 1, 102: 2}
    assert 10 <= sum(clock.slept) < 11


def test_a_node_under_a_new_number_is_found_at_the_next_round(make_grid, wait) -> None:
    """A SuperNode without a registered key comes back as another one."""
    online, found = [101, 102], []
    grid = make_grid(carrying(n101=1, n102=2, n103=2), nodes=(101, 102, 103))
    grid.get_node_ids = lambda: list(online)

    def drive(send):
        for request in (FIRST, LATER, FIRST, LATER):
            found.append(dict(send({1: request, 2: request})))
            if len(found) == 2:
                online[1] = 103

    remote(grid, wait=wait, introduction=wait)(drive)
    before, after = {1: b"from 101", 2: b"from 102"}, {1: b"from 101", 2: b"from 103"}
    assert found == [before, before, after, after]


def test_only_the_first_round_waits_for_devices_that_are_not_online(
    make_grid, wait, clock
) -> None:
    """A person who is gone for good costs one wait, not one a round."""
    times = []

    def drive(send):
        for _ in range(3):
            assert dict(send({1: FIRST, 2: FIRST})) == {1: b"from 101"}
            times.append(clock.now)

    grid = make_grid(carrying(n101=1), nodes=(101,))
    remote(grid, wait=wait, introduction=wait)(drive)
    assert times == pytest.approx([1060.0, 1060.0, 1060.0])


def test_a_node_that_claims_a_device_does_not_shut_out_the_true_one(
    make_grid, wait
) -> None:
    online, found = [101], []
    grid = make_grid(carrying(n101=1, n102=1), nodes=(101, 102))
    grid.get_node_ids = lambda: list(online)

    def drive(send):
        for _ in range(2):
            found.append(sorted(reply for _, reply in send({1: FIRST})))
            online.append(102)

    remote(grid, wait=wait, introduction=wait)(drive)
    assert found == [[b"from 101"], [b"from 101", b"from 102"]]


def test_a_node_that_says_nothing_costs_one_wait(make_grid, wait, clock) -> None:
    times = []

    def drive(send):
        for _ in range(3):
            assert dict(send({1: FIRST, 2: FIRST})) == {1: b"from 101"}
            times.append(clock.now)

    grid = make_grid(carrying(n101=1, n102=None), nodes=(101, 102))
    remote(grid, wait=wait, introduction=wait)(drive)
    assert times == pytest.approx([1060.0, 1060.0, 1060.0])
    asked = [m.metadata for p in grid.pushes for m in p]
    said = [m.dst_node_id for m in asked if m.message_type == "query.device"]
    assert sorted(said) == [101, 102]


def test_legs_after_the_first_do_not_look_for_nodes(make_grid, wait, clock) -> None:
    grid = make_grid(carrying(n101=1))
    remote(grid, wait=wait, introduction=wait)(lambda send: list(send({1: LATER})))
    assert grid.pushes == []
    assert clock.slept == []


# --- keys from files ----------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    elsewhere.issue(tmp_path / "ids", 3)
    return tmp_path / "ids"


def plan(units):
    return SimpleNamespace(digest=b"p" * 32, spec=SimpleNamespace(units=units))


def test_server_and_devices_agree_on_the_roster(folder) -> None:
    road = elsewhere.Elsewhere(lambda drive: None, folder)
    server = road.coordinator(plan(3), "task", lambda: None)
    for number in (1, 2, 3):
        member = elsewhere.member(folder, number, plan(3), "task")
        assert member.server == server.signer.public
        assert member.roster.digest == server.roster.digest
        assert server.roster.key(number) == member.signer.public
        assert (member.task, member.plan) == (server.task, b"p" * 32)


def test_keys_are_for_their_owner_only_and_never_overwritten(folder) -> None:
    for path in folder.glob("*.key"):
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert len(list(folder.glob("*.key"))) == 4
    with pytest.raises(SetupError, match="exists; name a new folder"):
        elsewhere.issue(folder, 3)
    with pytest.raises(SetupError, match=r"No such file.*; name another"):
        elsewhere.issue(folder / "no" / "ids", 3)


def test_a_server_that_devices_do_not_pin_is_refused(folder) -> None:
    (folder / "server.key").write_bytes(bytes(32))
    road = elsewhere.Elsewhere(lambda drive: None, folder)
    with pytest.raises(SetupError, match=r"not that of server\.pub"):
        road.coordinator(plan(3), "task", lambda: None)


def test_a_folder_for_others_is_refused(folder) -> None:
    road = elsewhere.Elsewhere(lambda drive: None, folder)
    with pytest.raises(SetupError, match="3 devices on the roster, must be 4"):
        road.coordinator(plan(4), "task", lambda: None)
    with pytest.raises(SetupError, match=r"device-4\.key: No such file"):
        elsewhere.member(folder, 4, plan(3), "task")


def test_a_roster_or_a_key_that_was_changed_is_refused(folder) -> None:
    signed = (folder / "roster.bin").read_bytes()
    (folder / "roster.bin").write_bytes(signed[:-1] + bytes([signed[-1] ^ 1]))
    with pytest.raises(MessageError):
        elsewhere.member(folder, 1, plan(3), "task")
    (folder / "roster.bin").write_bytes(signed)
    (folder / "device-1.key").write_bytes(b"short")
    with pytest.raises(SetupError, match="5 bytes, must be 32"):
        elsewhere.member(folder, 1, plan(3), "task")
