"""Nothing that a run says, sends or keeps has what people wrote, or who they are."""

import json
import logging
import traceback

import pytest

import fedpref.core.grid
from fedpref import config, load_reward
from fedpref.cli import main
from fedpref.core.types import Record
from fedpref.data.partition import is_heldout
from fedpref.errors import FedprefError
from fedpref.simulation import simulate
from fedpref.transport import in_process
from fedpref.transport.workers import forked
from tests.leaks.canaries import (
    CANARIES,
    FORMS,
    ID,
    LABEL,
    OPTION,
    PROMPT,
    RAISED,
    USER,
    forms,
    in_bytes,
    in_error,
    in_files,
    in_text,
)

USUAL = (
    "privacy.noise=distributed",
    "privacy.against=server",
    "privacy.colluders=0.1",
    "cohort.rounds=1",
    "cohort.min_survivors=0.75",
    "evaluate.baselines=[]",
    "evaluate.every=0",
    "evaluate.federated=true",
    "run.seed=7",
    "run.name=people",
    "data.catalogue=public",
    "model.features=3",
)


def rows():
    """Eight people and two held out, each of whom has written canaries."""
    names = [f"{USER}-{number}" for number in range(200)]
    out = [name for name in names if is_heldout(name)][:2]
    training = [name for name in names if not is_heldout(name)][:8]
    return [
        {
            "user": name,
            "prompt": f"{PROMPT} number {number}?",
            "chosen": f"{OPTION}, a short one" if (place + number) % 3 else "Another.",
            "rejected": "Another." if (place + number) % 3 else f"{OPTION}, long.",
            "labels": {f"{LABEL}": number % 2},
            "id": f"{ID}-{place}-{number}",
        }
        for place, name in enumerate([*training, *out])
        for number in range(2)
    ]


@pytest.fixture(scope="module")
def people(main_job, tmp_path_factory):
    path = tmp_path_factory.mktemp("people") / "people.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


@pytest.fixture(scope="module")
def scenario(people, root):
    def make(*overrides):
        path = root / "simulations" / "own_data.toml"
        return config.read(path, [f"data.source={people}", *USUAL, *overrides])

    return make


@pytest.fixture(scope="module")
def prepared(scenario):
    """The set-up of a run, so that it is made once."""
    from fedpref.simulation.setup import prepare

    return prepare(scenario())


class Ears:
    """Hears what is sent, and reads what lies in the run folder meanwhile."""

    def __init__(self, folder):
        self.folder, self.messages, self.kept = folder, 0, set()

    def road(self, endpoints, drive):
        in_process.carry(
            {number: self.around(each) for number, each in endpoints.items()}, drive
        )

    def around(self, endpoint):
        def call(request):
            reply = endpoint(request)
            self.messages += 1
            self.kept |= in_bytes(request) | in_bytes(reply)
            return reply

        return call

    def tell(self, progress):
        self.kept |= in_text(repr(progress)) | in_files(self.folder)


@pytest.fixture(scope="module")
def run(scenario, tmp_path_factory):
    """A masked run with everything that a device can be asked for."""
    folder = tmp_path_factory.mktemp("masked") / "run"
    ears = Ears(folder)
    logging.getLogger().setLevel(logging.DEBUG)
    result = simulate(scenario(), folder, carry=ears.road, tell=ears.tell)
    return folder, ears, result


# The search finds what it looks for


def test_every_form_is_found(tmp_path) -> None:
    import base64

    for word in CANARIES:
        for before in range(4):
            around = b"x" * before + word.encode() + b"yyyyyy"
            for data in (
                around,
                around.hex().encode(),
                base64.b64encode(around),
                base64.urlsafe_b64encode(around),
                around.decode().encode("utf-16"),
                json.dumps({"a": around.decode()}).encode(),
            ):
                assert in_bytes(data) == {word}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"{USER}.bin").write_bytes(b"\0" + PROMPT.encode())
    assert in_files(tmp_path) == {USER, PROMPT}
    assert len(FORMS) == sum(len(forms(word)) for word in CANARIES)


def test_chained_exceptions_are_searched() -> None:
    outer = FedprefError("quiet")
    outer.__context__ = ValueError(PROMPT)
    outer.__suppress_context__ = True  # as "from None" does, which only hides it
    assert in_error(outer) == {PROMPT}


# A run that goes well


def test_nothing_is_sent_or_kept(run) -> None:
    folder, ears, result = run
    assert ears.messages == 80  # two releases of five legs and eight people
    assert ears.kept == set()
    assert in_files(folder) == set()
    assert in_text(repr(result)) == set()
    assert any(path.name == "ledger.db" for path in folder.iterdir())
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} >= {
        *(".json", ".jsonl", ".toml", ".html", ".db", ".safetensors")
    }


def test_nothing_is_sent_or_kept_where_the_server_adds_the_noise(
    scenario, tmp_path, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    ears = Ears(tmp_path)
    central = ("privacy.noise=central", "privacy.against=outsider")
    simulate(scenario(*central), tmp_path / "run", carry=ears.road, tell=ears.tell)
    assert ears.messages > 8
    shown = capfd.readouterr()
    assert ears.kept | in_files(tmp_path) == set()
    assert in_text(caplog.text + shown.out + shown.err) == set()


def test_nothing_is_carried_by_flower(
    scenario, prepared, monkeypatch, tmp_path
) -> None:
    """Whole messages, as Flower would send them: metadata and content."""
    from flwr.common.serde import message_to_proto

    from fedpref.transport.flower import apps
    from fedpref.transport.flower.grid import InProcessGrid

    carried = []

    def noted(name):
        real = getattr(InProcessGrid, name)

        def call(grid, messages):
            given = list(messages)
            out = list(real(grid, given))
            found = given if name == "push_messages" else out
            carried.extend(message_to_proto(one).SerializeToString() for one in found)
            return out

        return call

    for name in ("push_messages", "pull_messages"):
        monkeypatch.setattr(InProcessGrid, name, noted(name))
    monkeypatch.setattr("fedpref.simulation.run.prepare", lambda scenario: prepared)
    simulate(scenario(), tmp_path / "run", carry=apps.carry)
    assert len(carried) >= 160  # there and back
    assert in_bytes(b"\0".join(carried)) | in_files(tmp_path) == set()


# The command line


@pytest.fixture
def fedpref(monkeypatch, capfd, caplog):
    """What a command shows and logs, and its exit code."""
    caplog.set_level(logging.DEBUG)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["fedpref", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        shown = capfd.readouterr()
        return code, shown.out + shown.err + caplog.text

    return call


def own(tmp_path):
    """Choices of one person, for ``score`` and ``personalise``."""
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(r | {"user": USER}) + "\n" for r in rows()[:4]))
    return path


def test_no_command_repeats_what_people_wrote(run, fedpref, tmp_path) -> None:
    folder, _, _ = run
    file = own(tmp_path)
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": OPTION}) + "\n")
    offset = tmp_path / "offset.safetensors"
    for command in (
        ("report", folder),
        ("report", folder, "--json"),
        ("compare", folder, folder),
        ("score", folder, file),
        ("score", folder, file, "--json"),
        ("score", folder, tmp_path / "texts.jsonl"),
        ("personalise", folder, file, "--out", offset),
        ("budget", "show", folder),
        ("budget", "verify", folder),
        ("budget", "export", folder / "ledger.db"),
        ("simulate", "--resume", folder),
    ):
        code, shown = fedpref(*command)
        assert in_text(shown) == set(), command
        assert code in (0, 2), (command, shown)
    assert in_bytes(offset.read_bytes()) == set()
    assert in_files(folder) == set()


BAD = [
    [{"user": USER, "prompt": PROMPT, "chosen": OPTION, "rejected": OPTION}],
    [{"user": USER, "prompt": PROMPT, "options": [OPTION], "choice": OPTION}],
    [{"user": USER, "prompt": PROMPT, "completion": OPTION, "label": LABEL}],
    [{"user": [USER], "prompt": {PROMPT: 1}, "chosen": None, "rejected": OPTION}],
    [{"user": USER, "prompt": PROMPT, OPTION: 1, "label": True, "completion": "x"}],
    [{"user": USER, "prompt": PROMPT, "chosen": "a", "rejected": "b", "labels": LABEL}],
    [{"user": USER, "prompt": PROMPT, "chosen": "a", "rejected": "b", "weight": ID}],
    [rows()[0], {**rows()[0], "prompt": "another"}],
    [row for row in rows() if row["user"] == rows()[0]["user"]],
    [PROMPT],
    PROMPT + '", "unfinished',
    '{"user": "' + USER + '", "user": "' + USER + '"}',
    '{"user": "' + USER + '\\ud800", "prompt": "", "chosen": "a", "rejected": "b"}',
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_bad_records_are_refused_without_their_words(bad, scenario, tmp_path) -> None:
    file = tmp_path / "bad.jsonl"
    text = bad if isinstance(bad, str) else "".join(json.dumps(r) + "\n" for r in bad)
    file.write_text(text)
    with pytest.raises(FedprefError) as caught:
        simulate(scenario(f"data.source={file}"), tmp_path / "run")
    # a field's own name may be shown, so that it can be found; not what is in it
    assert in_error(caught.value) - {OPTION} == set()


def test_bad_records_of_a_command(run, fedpref, tmp_path) -> None:
    folder, _, _ = run
    file = tmp_path / "bad.jsonl"
    for bad in (BAD[0], BAD[4]):
        file.write_text(json.dumps(bad[0]))
        for command in ("score", "personalise"):
            code, shown = fedpref(command, folder, file)
            assert code == 2
            assert in_text(shown) - {OPTION} == set()


# Exceptions that nobody foresaw, with a person's words in them


def explode(*arguments, **named):
    raise RuntimeError(f"cannot work on {RAISED}")


STEPS = (
    # on the device, from its records to what it sends
    "fedpref.rounds.contribution.clip_units",
    "fedpref.rounds.contribution.sum_rounded",
    "fedpref.rounds.contribution.skellam",
    "fedpref.secagg.client.pack",
    "fedpref.secagg.client.admit",
    "fedpref.secagg.client.seal",
    "fedpref.secagg.client.opened",
    "fedpref.secagg.client.check_votes",
    # in the simulation, which has everybody's records
    "fedpref.data.formats._record",
    "fedpref.simulation.setup.partition.split",
    "fedpref.simulation.setup.public_features",
    "fedpref.simulation.setup.self_test",
    "fedpref.simulation.run.compare",
    # on the server
    "fedpref.secagg.server.unpack",
    "fedpref.rounds.secure.centred",
    "fedpref.rounds.server.to_reals",
    "fedpref.simulation.run.write_report",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_fault_anywhere_reaches_nobody_in_its_own_words(
    step, scenario, prepared, monkeypatch, tmp_path, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(step, explode)
    if ".setup." not in step and "formats" not in step:
        monkeypatch.setattr("fedpref.simulation.run.prepare", lambda scenario: prepared)
    with pytest.raises(
        FedprefError, match="a fault of ours: RuntimeError at"
    ) as caught:
        simulate(scenario(), tmp_path / "run", carry=in_process.carry)
    shown = capfd.readouterr()
    assert in_error(caught.value) == set()
    assert in_text("".join(traceback.format_exception(caught.value))) == set()
    assert in_text(shown.out + shown.err + caplog.text) == set()
    assert in_files(tmp_path) == set()


def test_a_gradient_that_fails_is_a_contribution_of_zeros(
    scenario, prepared, monkeypatch, tmp_path, caplog, capfd
) -> None:
    """Nobody is told, so nobody can tell; the device's owner sees a count."""
    from fedpref.simulation import devices

    monkeypatch.setattr("fedpref.simulation.run.prepare", lambda scenario: prepared)
    monkeypatch.setattr(
        devices,
        "client_gradients",
        lambda setup: dict.fromkeys(setup.split.train, explode),
    )
    ears = Ears(tmp_path)
    result = simulate(scenario(), tmp_path / "run", carry=ears.road)
    assert result.failures == 8
    shown = capfd.readouterr()
    assert ears.kept | in_files(tmp_path) == set()
    assert in_text(shown.out + shown.err + caplog.text) == set()


def test_a_fault_in_a_worker_process(
    scenario, prepared, monkeypatch, tmp_path, capfd
) -> None:
    """Python would print the words of an exception that ends a process."""
    monkeypatch.setattr("fedpref.simulation.run.prepare", lambda scenario: prepared)
    monkeypatch.setattr("fedpref.rounds.contribution.clip_units", explode)
    road = forked(2, lambda: None)
    with pytest.raises(FedprefError, match=r"device \d: a fault of ours") as caught:
        simulate(scenario(), tmp_path / "run", carry=road)
    shown = capfd.readouterr()
    assert in_error(caught.value) | in_text(shown.out + shown.err) == set()


def test_a_fault_behind_a_command(run, fedpref, monkeypatch, tmp_path) -> None:
    folder, _, _ = run
    file = own(tmp_path)
    for step, command in (
        ("fedpref.models.reward.RewardModel.scores", ("score", folder, file)),
        ("fedpref.simulation.home.map_offsets", ("personalise", folder, file)),
        ("fedpref.data.formats._record", ("personalise", folder, file)),
        ("fedpref.report.run._releases", ("report", folder)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(step, explode)
            code, shown = fedpref(*command)
        assert code == 1
        assert "a fault of ours: RuntimeError at" in shown
        assert in_text(shown) == set()


def test_a_fault_behind_the_public_functions(run, monkeypatch) -> None:
    folder, _, _ = run
    reward = load_reward(folder)
    record = Record(USER, PROMPT, (OPTION, "other"), choice=0)
    monkeypatch.setattr("fedpref.models.reward.RewardModel.scores", explode)
    for call in (lambda: reward.score([OPTION]), lambda: reward.margins(record)):
        with pytest.raises(FedprefError) as caught:
            call()
        assert in_error(caught.value) == set()
    with pytest.raises(FedprefError) as caught:
        load_reward(folder.parent)
    assert in_error(caught.value) == set()


# What holds a person's words does not print them


def test_repr_of_what_holds_records(prepared) -> None:
    from fedpref.simulation.device_work import client_gradients

    (name, gradient), *_ = client_gradients(prepared).items()
    assert in_text(name) == {USER}
    assert in_text(repr(gradient)) == set()
