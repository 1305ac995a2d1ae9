"""Whole runs: with a server that has no device, and one that is stopped on the way."""

import sys
from types import SimpleNamespace

import pytest

from fedpref import config
from fedpref.cli import main
from fedpref.core.entropy import SeededEntropy
from fedpref.errors import SetupError
from fedpref.secagg.crypto import SharedWork
from fedpref.simulation import resume, simulate
from fedpref.simulation.devices import contributions, devices_of
from fedpref.simulation.elsewhere import Elsewhere, issue, member
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import prepare
from fedpref.transport import in_process
from fedpref.transport.in_process import SecureDevice


@pytest.fixture
def elsewhere(scenario, tmp_path):
    """Devices that were made from files, apart from the run."""
    identities = tmp_path / "identities"
    issue(identities, 2)
    setup = prepare(config.read(scenario))
    made = contributions(setup, SeededEntropy(setup.scenario.run.seed)).values()
    work = SharedWork()
    devices = {
        number: SecureDevice(
            member(identities, number, setup.plan, setup.scenario.run.name),
            each,
            limit=setup.plan.reserved_rounds,
            work=work,
        )
        for number, each in enumerate(made, 1)
    }
    return Elsewhere(lambda drive: in_process.carry(devices, drive), identities)


def test_a_run_with_devices_elsewhere_gives_the_same_bytes(
    elsewhere, scenario, tmp_path
) -> None:
    away = simulate(scenario, tmp_path / "away", carry=elsewhere).folder
    here = simulate(scenario, tmp_path / "here", carry=in_process.carry).folder
    for path in (here / "head.safetensors", *(here / "adapter").glob("*")):
        assert (away / path.relative_to(here)).read_bytes() == path.read_bytes()
    rows = [(run / "metrics.jsonl").read_text().splitlines() for run in (away, here)]
    assert len(rows[0]) == len(rows[1]) == 1
    assert '"survivors": 2' in rows[0][0]


@pytest.mark.parametrize(("masked", "limits"), [(False, {}), (True, {"Ann": None})])
def test_what_the_server_cannot_do_for_devices_elsewhere_is_refused(
    tmp_path, masked, limits
) -> None:
    """Readable contributions, and limits that are their owners'."""
    road = Elsewhere(lambda drive: None, tmp_path / "nowhere")
    setup = SimpleNamespace(scenario=SimpleNamespace(masked=masked), limits=limits)
    with pytest.raises(SetupError, match="devices elsewhere"):
        devices_of(setup, SeededEntropy(1), NoJournal(), road)


def test_ctrl_c_over_flower_leaves_a_run_that_can_be_resumed(
    scenario, tmp_path, monkeypatch, capsys
) -> None:
    calls, real = [], SecureDevice.__call__

    def stops(self, request):
        calls.append(request)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, request)

    monkeypatch.setattr(SecureDevice, "__call__", stops)
    words = ("simulate", scenario, "--transport", "flower", "--out", tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["fedpref", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert "go on with: fedpref simulate --resume" in capsys.readouterr().err
    assert resume(tmp_path / "run", carry=in_process.carry).report["rounds"] == 1
