"""Nothing on any road unpickles, or reads an array format that could."""

import ast
import os
import pickle

import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.transport.flower import apps, courier
from fedpref.transport.flower.exchange import at_once, over
from fedpref.transport.flower.grid import InProcessGrid

FOLDERS = ("fedpref/transport", "fedpref/secagg", "clients", "server")
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
ARRAYS = {"np", "numpy", "torch"}
FILES = {"save", "savez", "savez_compressed", "load", "fromfile"}  # of those
CALLS = {
    *("loads", "eval", "exec", "__import__"),
    *("ndarray_to_bytes", "bytes_to_ndarray", "parameters_to_ndarrays"),
}
YARDSTICK = "secaggplus.py"  # times Flower's own functions; carries nothing


def sources(root):
    found = [path for folder in FOLDERS for path in (root / folder).rglob("*.py")]
    return [path for path in found if path.name != YARDSTICK]


def offences(text):
    """Imports and calls that could unpickle, by line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            banned = CALLS | (FILES if module in ARRAYS else set())
            names = {alias.name for alias in node.names} & banned | {module} & MODULES
        elif isinstance(node, ast.Call):
            called = node.func
            name = getattr(called, "attr", getattr(called, "id", ""))
            owner = getattr(getattr(called, "value", None), "id", "")
            names = {name} & (CALLS | (FILES if owner in ARRAYS else set()))
            names |= {k.arg for k in node.keywords} & {"allow_pickle"}
        found += [(node.lineno, name) for name in names]
    return found


def test_no_road_pickles(root) -> None:
    paths = sources(root)
    assert len(paths) > 20
    for path in paths:
        assert offences(path.read_text(encoding="utf-8")) == [], path
    pipes = (root / "fedpref/transport/workers.py").read_text(encoding="utf-8")
    assert ".send_bytes(" in pipes
    assert ".send(" not in pipes.replace("\n", "")  # which pickles, as recv() unpickles
    assert ".recv(" not in pipes


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import numpy as np\nnp.save('f', x)",
        "import numpy as np\nnp.load(f)",
        "from numpy import load",
        "from pickle import loads as read",
        "import numpy\nnumpy.load(f, allow_pickle=True)",
        "from flwr.common import bytes_to_ndarray\nbytes_to_ndarray(b)",
    ],
)
def test_the_scan_sees_what_it_looks_for(text) -> None:
    assert offences(text)


class Gadget:
    """Whoever unpickles this makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_gadget_in_a_message_is_never_run(identity, tmp_path) -> None:
    """On the way down, on the way up, and where a record of arrays would hold it."""
    planted = tmp_path / "planted"
    gadget = pickle.dumps(Gadget(planted))
    head = wire.message(Kind.SURVIVORS, bytes(32))
    array = Array("float64", (2,), "numpy.ndarray", gadget)
    identity()
    grid, heard = InProcessGrid(apps.courier_app(), [1], 1), []
    with apps._listening({1: lambda request: heard.append(request) or gadget}):
        send = over(grid, {1: 1}, wait=at_once())
        assert list(send({1: head + gadget})) == [(1, gadget)]
        foreign = RecordDict({"fedpref": ArrayRecord({"bytes": array})})
        (reply,) = grid.send_and_receive([Message(foreign, 1, "train.round")])
        assert reply.has_error()
    assert heard == [head + gadget]
    assert courier.unpack(foreign) is None
    assert not planted.exists()
    pickle.loads(gadget)  # noqa: S301 (the gadget works)
    assert planted.is_dir()
