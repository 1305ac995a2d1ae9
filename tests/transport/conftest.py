"""A Flower grid that does to messages what a test says, and a clock that it moves."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest


@dataclass
class Clock:
    """Reads seconds; sleeping takes none of ours."""

    now: float = 1000.0
    slept: list = field(default_factory=list)

    def read(self):
        return self.now

    def sleep(self, seconds):
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds
        assert len(self.slept) < 10_000, "an endless wait"


def _identity():
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_grid():
    """``make_grid(answer)``: nodes 101, 102, ... of which ``answer(node, bytes)`` says
    what they reply: bytes, None for nothing at all, an Error, or a RecordDict.

    ``bend(replies, grid)`` may change what a look brings; ``delay`` is the number of
    looks after which replies are there.
    """
    from flwr.app import Error, Message, RecordDict

    from fedpref.transport.flower.courier import pack, unpack
    from fedpref.transport.flower.grid import InProcessGrid

    class Scripted(InProcessGrid):
        def __init__(self, nodes, answer, bend, delay):
            super().__init__(None, nodes, 1)
            self.answer, self.bend, self.delay = answer, bend, delay
            self.pushes, self.looks, self.ready = [], 0, {}
            self.pushed_at = {}

        def push_messages(self, messages):
            messages = list(messages)
            self.pushes.append(messages)
            assert len(self.pushes) < 200, "asked again and again"
            keys = list(super().push_messages(messages))
            self.pushed_at |= dict.fromkeys(keys, self.looks)
            return keys

        def pull_messages(self, message_ids):
            self.looks += 1
            found = []
            for key in message_ids:
                due = self.pushed_at[key] + self.delay < self.looks
                if due and key in self._queue:
                    found.append(self._reply(self._queue.pop(key)))
            found = [reply for reply in found if reply is not None]
            return self.bend(found, self)

        def _reply(self, message):
            node = message.metadata.dst_node_id
            said = self.answer(node, unpack(message.content))
            if said is None:
                return None
            if isinstance(said, bytes):
                said = pack(said)
            assert isinstance(said, Error | RecordDict)
            return Message(said, reply_to=message)

    def make(answer, *, nodes=(101, 102, 103), bend=None, delay=0) -> Scripted:
        _identity()
        return Scripted(nodes, answer, bend or (lambda replies, grid: replies), delay)

    return make


@pytest.fixture
def identity() -> Callable[[], None]:
    _identity()
    return _identity


@pytest.fixture
def scenario(minilm, root, tmp_path):
    """Two people who answer and two who are asked afterwards; one seeded round."""
    from fedpref import config
    from fedpref.data.partition import is_heldout

    names = [f"person {number}" for number in range(200)]
    train = [name for name in names if not is_heldout(name)][:2]
    others = [name for name in names if is_heldout(name)][:2]
    texts = ("Short and plain.", "A long answer that says everything twice.")
    rows = [
        {"user": name, "prompt": f"{n}?", "chosen": texts[n], "rejected": texts[1 - n]}
        for name in (*train, *others)
        for n in range(2)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "two.jsonl").write_text(lines)
    settings = [
        f"data.source={tmp_path / 'two.jsonl'}",
        "data.catalogue=public",
        "model.features=3",
        "privacy.noise=distributed",
        "privacy.against=server",
        "privacy.colluders=0",
        "cohort.rounds=1",
        "cohort.min_survivors=1.0",
        "evaluate.baselines=[]",
        "evaluate.every=0",
        "run.name=two",
        "run.seed=7",
    ]
    made = config.read(root / "simulations" / "own_data.toml", settings)
    path = tmp_path / "two.toml"
    path.write_text(made.to_toml())
    return path
