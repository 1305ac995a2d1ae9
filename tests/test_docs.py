"""The documentation says what is true: links, names, commands, keys, examples."""

import ast
import importlib
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from pydantic import BaseModel

from fedpref import config, errors
from fedpref.cli import app
from fedpref.core.types import Record
from fedpref.evaluate import baselines
from fedpref.evaluate.metrics import difference
from fedpref.report.schema import Baseline, Environment, Plan, Results, Round
from fedpref.secagg.messages import (
    Contribution,
    Invitation,
    encode_contribution,
    encode_invitation,
)
from fedpref.sections import ALL_BASELINES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [*([README] if README.is_file() else []), *sorted(DOCS.rglob("*.md"))]
FORMATS = (DOCS / "formats.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def section(title: str) -> str:
    """The part of docs/formats.md under ``## title``."""
    parts = re.split(r"^## (.+)$", FORMATS, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def rows(text: str) -> list[list[str]]:
    """Cells of every table row, headings and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]
    return cells[1:]


def names_in(title: str) -> set[str]:
    """What the first column of a section's table documents."""
    return {name for row in rows(section(title)) for name in code_in(row[0])}


def code_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# --- links, names, commands ---------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def targets(page: Path) -> list[str]:
    text = prose(page)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    found += re.findall(r"\b(?:src|srcset|href)=\"([^\"]+)\"", text)
    return [t for t in found if not re.match(r"[a-z]+:", t)]


@every_page
def test_relative_links_lead_somewhere(page) -> None:
    for target in targets(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def test_links_are_found_and_the_index_reaches_every_page() -> None:
    index = DOCS / "index.md"
    reached = {(index.parent / t.partition("#")[0]).resolve() for t in targets(index)}
    ours = set(DOCS.glob("*.md")) | set((DOCS / "guarantees").glob("*.md"))
    assert len(ours) > 10
    assert ours - {index} <= reached


def commands(page: Path) -> list[list[str]]:
    """Every ``fedpref ...`` in code, as words."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
    found = [*code_in(FENCE.sub("", text)), *lines]
    found = [re.sub(r"^\s*[$>#]*\s*(?:\S*/bin/)?", "", line) for line in found]
    return [line.split()[1:] for line in found if line.startswith("fedpref ")]


@every_page
def test_commands_exist(page) -> None:
    for words in commands(page):
        group: Any = typer.main.get_command(app)
        while words and not words[0].startswith("-") and hasattr(group, "commands"):
            assert words[0] in group.commands, f"fedpref {words[0]}"
            group = group.commands[words.pop(0)]
        known = {option for p in group.params for option in p.opts} | {"--help", "-h"}
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{group.name}: {given - known}"


def test_commands_are_found() -> None:
    found = [" ".join(words) for page in PAGES for words in commands(page)]
    assert "simulate --resume RUN" in found
    assert "data get all" in found


@every_page
def test_tests_and_functions_that_are_named_exist(page) -> None:
    for name in code_in(prose(page)):
        if match := re.fullmatch(r"(tests/\S+\.py)(?:::(\w+))?", name):
            tree = ast.parse((ROOT / match[1]).read_text(encoding="utf-8"))
            defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
            assert match[2] is None or match[2] in defined, name
        elif re.fullmatch(r"fedpref(\.\w+)+", name):
            assert resolve(name) is not None, name
        elif re.fullmatch(r"(fedpref|tests|docs|simulations)/[\w/.]+", name):
            assert (ROOT / name).exists(), name


def resolve(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        path, _, last = name.rpartition(".")
        return getattr(resolve(path), last, None)


def test_one_update_names_a_test_for_every_step() -> None:
    text = (DOCS / "one_update.md").read_text(encoding="utf-8")
    steps = rows(text.split("\n## ")[0])
    assert {int(row[0]) for row in steps} == set(range(15))
    for row in steps:
        assert code_in(row[3])[0].startswith("fedpref.")
        assert all("::" in name for name in code_in(row[4]))
        assert code_in(row[4])


# --- formats ------------------------------------------------------------------------


def scenario_keys(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key of a scenario with its field, tables included."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = list(inside(field.annotation))
        tables = [t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)]
        key = f"{prefix}{field.alias or name}"
        if prefix or not tables:
            found[key] = field
        for table in tables:  # of several kinds, the first is the usual one
            found = scenario_keys(table, f"{key}.") | found
    return found


def inside(annotation) -> Iterator[Any]:
    """A type and the types it is made of."""
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from inside(part)


def test_every_scenario_key_is_documented_with_its_default() -> None:
    table = {code_in(row[0])[0]: row for row in rows(section("Scenario"))}
    fields = scenario_keys(config.Scenario)
    assert len(fields) > 25
    assert set(table) == set(fields)
    for key, field in fields.items():
        if key == "run.name":  # `read` fills it in
            assert table[key][2] == "the file's name"
        elif field.is_required():
            assert table[key][2] in ("needed", "needed in the section"), key
        elif field.default is None:
            assert table[key][2] == "absent", key
        else:
            (shown,) = code_in(table[key][2])
            default = json.loads(json.dumps(field.default))
            assert tomllib.loads(f"x = {shown}")["x"] == default, key


def choices(annotation) -> list[str]:
    """The values that a literal, or a union of literals and bool, allows."""
    found: list[str] = []
    for value in getattr(annotation, "__args__", ()):
        if value is bool:
            found += ["true", "false"]
        else:
            found += choices(value) if hasattr(value, "__args__") else [str(value)]
    return found


def test_documented_choices_are_those_of_the_code() -> None:
    table = {code_in(row[0])[0]: row[1] for row in rows(section("Scenario"))}
    for key, field in scenario_keys(config.Scenario).items():
        values = choices(field.annotation)
        if "Literal" in str(field.annotation) and "float" not in str(field.annotation):
            assert [v.strip('"') for v in code_in(table[key])] == values or key in (
                "evaluate.baselines",
                "model.adapter.kind",  # each kind is a table of its own
            ), key
    text = section("Scenario")
    assert all(f"`{name}`" in text for name in ALL_BASELINES)


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("plan.json", Plan),
        ("metrics.jsonl", Round),
        ("evaluation.json", Results),
        ("environment.json", Environment),
    ],
)
def test_what_a_report_reads_is_documented(title, model) -> None:
    documented = {re.split(r"\.|\[", name)[0] for name in names_in(title)}
    assert documented >= set(model.model_fields)


def test_fields_of_baselines_and_comparisons_are_documented() -> None:
    people = {"a": [Record("a", "", ("one", "two"), choice=0)]}
    row = baselines.untrained(people)
    gap = difference(row.evaluation, row.evaluation)
    real = {f"baselines.NAME.{key}" for key in row.to_json()}
    real |= {f"comparisons[].{key}" for key in gap.to_json("a", "b")}
    prefixes = ("baselines.", "comparisons")
    whole = {n for n in names_in("evaluation.json") if n.startswith(prefixes)}
    assert whole == real
    short = {n for n in names_in("report.json") if n.startswith(prefixes)}
    assert short == {f"baselines.NAME.{key}" for key in Baseline.model_fields}


def test_wire_table_is_the_layout() -> None:
    table = rows(section("Wire messages"))
    at = {row[2]: (int(row[0]), row[1]) for row in table}
    plan, values = bytes(range(32)), np.array([3.0, -4.0])
    invitation = encode_invitation(Invitation(7, plan, values))
    update = values.astype(np.int64)
    contribution = encode_contribution(Contribution(7, plan, update))
    assert at["values"][1] == "8 n"
    for data, kind, body in (
        (invitation, 1, values.astype("<f8").tobytes()),
        (contribution, 2, update.astype("<i8").tobytes()),
    ):
        expected = {
            "magic": b"FP",
            "version": bytes([1]),
            "kind": bytes([kind]),
            "round": (7).to_bytes(4, "little"),
            "plan": plan,
            "coordinates": (2).to_bytes(4, "little"),
            "values": body,
        }
        assert set(at) == set(expected)
        for name, value in expected.items():
            offset = at[name][0]
            assert data[offset : offset + len(value)] == value, name
            assert at[name][1] in (str(len(value)), "8 n"), name
        assert len(data) == at["values"][0] + len(body)


def test_exit_codes_are_those_of_the_errors() -> None:
    table = {int(row[0]): set(code_in(row[2])) for row in rows(section("Exit codes"))}
    assert set(table) == {0, 1, 2, 3, 4, 5, 6, 130}
    real: dict[int, set[str]] = {code: set() for code in table}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.FedprefError):
            real[value.exit_code].add(value.__name__)
    assert table == real


# --- a run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api_page(main_job, tmp_path_factory) -> SimpleNamespace:
    """The Python page, run from top to bottom in a folder of its own."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copytree(ROOT / "simulations", folder / "simulations")
    page = (DOCS / "python_api.md").read_text(encoding="utf-8")
    blocks = [code for kind, code in FENCE.findall(page) if kind == "python"]
    names: dict[str, Any] = {"__name__": "python_api"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, code in enumerate(blocks, 1):
            block = compile(code, f"python_api.md, block {number}", "exec")
            exec(block, names)  # noqa: S102 (the page is ours)
    return SimpleNamespace(run=folder / "runs" / "first", blocks=blocks, names=names)


def test_the_python_page_runs(api_page) -> None:
    assert len(api_page.blocks) >= 4
    assert api_page.names["result"].report["rounds"] == 2
    assert not (api_page.run.parent / "second").exists()


def test_every_file_of_a_run_is_documented(api_page) -> None:
    files = {
        path.relative_to(api_page.run).as_posix()
        for path in api_page.run.rglob("*")
        if path.is_file()
    }
    names = ("adapter_config.json", "adapter_model.safetensors", "adapter.safetensors")
    with_adapter = {f"adapter/{name}" for name in names}
    with_personal = {"prior.safetensors"}
    assert names_in("Run folder") == files | with_adapter | with_personal


NAMED = {"versions", "omitted", "trusted", "adversaries", "baselines"}


def keys_of(value: Any, path: str = "") -> set[str]:
    """Dotted names of the leaves; names that are data become NAME or WHO."""
    if isinstance(value, list):
        inside = set().union(*(keys_of(v, f"{path}[]") for v in value), set())
        return {name for name in inside if not name.endswith("[]")} or {path}
    if not isinstance(value, dict):
        return {path}
    free = "WHO" if path == "adversaries" else "NAME" if path in NAMED else None
    return set().union(
        *(
            keys_of(inner, f"{path}.{free or key}" if path else key)
            for key, inner in value.items()
        ),
        set(),
    )


@pytest.mark.parametrize(
    "title",
    [
        *("plan.json", "metrics.jsonl", "evaluation.json", "environment.json"),
        *("report.json", "statement.json", "model.json"),
    ],
)
def test_every_field_of_a_run_is_documented(api_page, title) -> None:
    text = (api_page.run / title).read_text(encoding="utf-8")
    found = keys_of(json.loads(text.splitlines()[0] if "jsonl" in title else text))
    documented = names_in(title)
    assert found <= documented | {"comparisons"}, found - documented | {"comparisons"}
    only_sometimes = ("baselines.NAME.", "comparisons[].", "omitted.NAME")
    only_sometimes += ("federated", "evaluation")  # where devices evaluate
    only_sometimes += ("personal",)  # where people adapt the model
    only_sometimes += ("own_budgets",)  # where people have own limits
    missing = documented - found
    assert all(name.startswith(only_sometimes) for name in missing), missing
