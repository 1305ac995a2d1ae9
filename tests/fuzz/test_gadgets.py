"""Nothing that is read can run: no pickle, no eval, on any wire or disk path."""

import ast
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fedpref.errors import FedprefError
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent.parent
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal"}
MODULES |= {"shelve", "runpy", "code", "codeop"}
CALLS = {"eval", "exec", "compile", "__import__"}
TORCH = {"torch.load", "torch.jit.load", "torch.hub.load"}
NUMPY = {"np.load", "numpy.load", "np.fromfile", "np.save", "np.savez"}


def dotted(node) -> str:
    """``a.b.c`` of an expression, or nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def problems(tree):
    """What could run what is read, with its line."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] in MODULES:
                yield node.lineno, f"import {name}"
        if isinstance(node, ast.Call):
            yield from called(node)


def called(node):
    name = dotted(node.func)
    values = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    if isinstance(node.func, ast.Name) and name in CALLS:
        yield node.lineno, name
    if name in TORCH and values.get("weights_only") is not True:
        yield node.lineno, f"{name} without weights_only=True"
    if name in NUMPY or values.get("allow_pickle"):
        yield node.lineno, f"{name} may pickle"
    if values.get("trust_remote_code"):
        yield node.lineno, f"{name} runs what it downloads"


@pytest.mark.parametrize("package", ["fedpref", "clients", "server"])
def test_nothing_can_run_what_it_reads(package) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}": what
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, what in problems(ast.parse(path.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve as s",
        "eval(text)",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "read(path, allow_pickle=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_each_way_is_noticed(line) -> None:
    assert len(list(problems(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "torch.load(p, weights_only=True)",
        "re.compile(x)",
        "json.load(f)",
    ],
)
def test_what_is_harmless_is_let_through(line) -> None:
    assert list(problems(ast.parse(line))) == []


RAN = []


def ran():
    RAN.append(1)


class Gadget:
    """Calls :func:`ran` where it is unpickled."""

    def __reduce__(self):
        return ran, ()


def gadgets():
    """The same one as a pickle, in an archive of torch's and in two of numpy's."""
    bare = pickle.dumps(Gadget())
    archive, array, several = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"head": Gadget()}, archive)
    objects = np.array([Gadget()], dtype=object)
    np.save(array, objects, allow_pickle=True)
    np.savez(several, head=objects)
    return bare, archive.getvalue(), array.getvalue(), several.getvalue()


def test_the_gadget_works() -> None:
    pickle.loads(gadgets()[0])  # noqa: S301 (ours, to see that it would run)
    assert RAN == [1]
    RAN.clear()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_planted_gadget_does_not_run(target, tmp_path) -> None:
    for data in gadgets():
        for dressed in {data, target.dress(data) if target.dress else data}:
            try:
                target.read(dressed, tmp_path)
            except FedprefError:
                continue
    assert RAN == []
