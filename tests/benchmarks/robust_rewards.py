"""python tests/benchmarks/robust_rewards.py FOLDER [--seeds 5] [--runs FILE]

Do reward models that are held back generalise better to debates and styles that they
were not trained on, and are they less sure of themselves there (BSR, arXiv 2505.07271)?
FOLDER is argument-convincingness-prefs. Trained is on votes about two short arguments
of some of the debates; held-out people are asked about short and long ones, of these
debates and of the others. Runs are kept in FILE, seed after seed.
"""

import argparse
import gzip
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import released

from fedpref import config, objectives
from fedpref.core.types import Float, Integer, Record, Unit
from fedpref.data import arguments, partition, sources
from fedpref.evaluate.metrics import TIE, interval
from fedpref.models.gradients import SharedJacobian, unit_gradients
from fedpref.rounds.optimisers import sgd
from fedpref.simulation.setup import Setup, calibrate, prepare

SCENARIO = Path(__file__).parents[2] / "simulations" / "arguments.toml"
WORDS = 50  # a longer argument is of the other style
ONE_IN = 3  # so many debates are unseen
ROUNDS = 8
GROUPS = ("in-domain", "debates", "style", "both")
EPSILON, SEEDS, NONE = 4.0, 5, "none"
START, CENTRAL = "before training", "centrally"
SCALES = np.geomspace(0.05, 20.0, 241)


@dataclass(frozen=True)
class Row:
    """One way to train: objective, its settings, and the server's step."""

    objective: str
    lr: float
    hyper: Mapping[str, float] = field(default_factory=dict)


SMALL, LARGE = 3.0, 9.0  # steps: that of the scenario, and the best one of ``bt``
BASE, FAST, ALONE = "bt", "bt, large step", f"bt, {CENTRAL}"
ROWS = {
    BASE: Row("bt", SMALL),
    "bsr_user": Row("bsr_user", SMALL),
    "bsr_lagged": Row("bsr_lagged", SMALL),
    "bsr_pair": Row("bsr_pair", SMALL),
    "reward_norm": Row("reward_norm", SMALL),
    "dr": Row("dr", SMALL),
    "logit_norm": Row("logit_norm", SMALL),
    FAST: Row("bt", LARGE),
    "hinge, large step": Row("hinge", LARGE),
}
# The strength counts times the batch, which is everybody: 0.1 as for ``bsr_user``.
BATCH = {
    ALONE: Row("bt", SMALL),
    f"bsr_batch, {CENTRAL}": Row("bsr_batch", SMALL, {"strength": 1e-5}),
}
REFERENCE = {name: FAST for name, row in ROWS.items() if row.lr == LARGE}
REFERENCE |= dict.fromkeys(BATCH, ALONE)
ORDER = (
    *((name, NONE) for name in ROWS),
    *((name, f"{EPSILON:g}") for name in ROWS),
    *((name, NONE) for name in BATCH),
)


def is_unseen(title: str, seed: int) -> bool:
    """Whether a debate is kept for the test: one in three, by a hash of its title."""
    digest = hashlib.sha256(f"topics-{seed}:{title}".encode()).hexdigest()
    return int(digest, 16) % ONE_IN == 0


def is_long(text: str) -> bool:
    """Whether an argument is of the style that is not trained on."""
    return len(text.split()) > WORDS


def write_training(folder: Path, target: Path, seed: int) -> None:
    """The short arguments of the debates of training and the votes on two of them."""
    known = arguments.read_arguments(folder / arguments.TEXTS)
    kept = {
        key: row
        for key, row in known.items()
        if not is_unseen(row["title"], seed) and not is_long(row["text"])
    }
    rows = [json.dumps(row) for row in kept.values()]
    _pack(target / arguments.TEXTS, rows)
    header, *votes = _lines(folder / arguments.VOTES)
    own = [vote.split(",") for vote in votes]
    both = [
        ",".join(cells)
        for cells in own
        if (cells[1], cells[2]) in kept and (cells[1], cells[3]) in kept
    ]
    _pack(target / arguments.VOTES, [header, *both])


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def _pack(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def salt_of(seed: int) -> str:
    """Who is held out; a seed that is not reported borrows the last split."""
    own = f"split-{seed}"
    return own if own in partition.SALTS else partition.SALTS[-1]


@dataclass(frozen=True)
class Bench:
    """One seed: the product's setup for ``bt``, and all texts of the set in order."""

    setup: Setup
    texts: tuple[str, ...]
    seed: int

    @property
    def records(self) -> tuple[Record, ...]:
        """Of everybody who trains."""
        return tuple(r for own in self.setup.split.train.values() for r in own)


def bench_of(folder: Path, seed: int) -> Bench:
    """The derived folder goes once through ``prepare``, as any folder does."""
    given = [f"data.split={salt_of(seed)}", "evaluate.baselines=[]"]
    with tempfile.TemporaryDirectory() as made:
        write_training(folder, Path(made), seed)
        scenario = config.read(SCENARIO, [f"data.from={made}", *given, *_noise(None)])
        setup = prepare(scenario)
    return Bench(setup, arguments.read(folder).catalogue, seed)


def setup_of(bench: Bench, row: Row, epsilon: float | None) -> Setup:
    """The same people and model under another objective, step and sealed plan."""
    scenario, setup = bench.setup.scenario, bench.setup
    hyper = [f"objective.{key}={value}" for key, value in row.hyper.items()]
    given = [f"objective.name={row.objective}", f"server.lr={row.lr}"]
    read = config.read(SCENARIO, [*given, *hyper, *_noise(epsilon)])
    scenario = read.model_copy(update={"data": scenario.data})
    objective = scenario.build_objective()
    plan = calibrate(scenario, setup.model, objective, len(setup.split.train))
    return replace(setup, scenario=scenario, objective=objective, plan=plan)


def _noise(epsilon: float | None) -> list[str]:
    rounds = [f"cohort.rounds={ROUNDS}", "privacy.against=outsider"]
    if epsilon is None:
        return [*rounds, "privacy.noise=none"]
    return [*rounds, "privacy.noise=central", f"privacy.target_epsilon={epsilon}"]


def federated(bench: Bench, row: Row, epsilon: float | None) -> Float:
    """What the rounds of the product release, with the noise of the seed."""
    return released(setup_of(bench, row, epsilon), bench.seed)


def central(bench: Bench, row: Row) -> Float:
    """Everybody's records as one batch in one place: no clip, no noise, no privacy."""
    setup = bench.setup
    objective = objectives.load(row.objective, row.hyper, unit=Unit.USER, private=False)
    model, shared = setup.model, SharedJacobian(setup.model, setup.dataset.catalogue)
    records = [replace(record, user="all") for record in bench.records]
    optimiser = sgd(lr=row.lr)
    vector, late = model.initial(), []
    state = optimiser.init(vector.size)
    for _ in range(ROUNDS):
        model.set(vector)
        (total,) = unit_gradients(
            model, objective, records, unit=Unit.USER, jacobian=shared
        )
        step, state = optimiser.update(
            total / len(records), state, model=vector, variance=0.0
        )
        vector = vector + step
        late.append(vector)
    mean: Float = np.mean(late[ROUNDS // 2 :], axis=0)
    return mean


def seen(bench: Bench, vector: Float) -> dict[str, list[float]]:
    """Score of every text of the set, and the length of what the head reads."""
    model = bench.setup.model
    model.set(vector)
    features = model.features(bench.texts)
    scores, norms = features @ model.head.numpy(), np.linalg.norm(features, axis=1)
    return {
        "scores": [float(f"{value:.7g}") for value in scores],
        "norms": [float(f"{value:.7g}") for value in norms],
    }


def cell(bench: Bench, name: str, noise: str) -> dict[str, list[float]]:
    """One training, and what its released model makes of every text."""
    if name == START:
        return seen(bench, bench.setup.model.initial())
    if name in BATCH:
        return seen(bench, central(bench, BATCH[name]))
    epsilon = None if noise == NONE else float(noise)
    return seen(bench, federated(bench, ROWS[name], epsilon))


@dataclass(frozen=True)
class Votes:
    """Pairs of held-out people in one group: places of their texts among all texts."""

    users: tuple[str, ...]
    chosen: Integer
    other: Integer


def votes_of(folder: Path, seed: int) -> dict[str, Votes]:
    """The held-out people's votes of one seed, by group; mixed pairs are in none.

    At most as many votes of a person count as in the scenario.
    """
    cap = config.read(SCENARIO).data.records_per_person
    data = sources.load(
        arguments.NAME, base=None, folder=folder, records_per_person=cap
    )
    known = arguments.read_arguments(folder / arguments.TEXTS)
    prompt = arguments.TEMPLATES["prompt"]
    titles = {prompt.fill(row): row["title"] for row in known.values()}
    place = {text: i for i, text in enumerate(arguments.read(folder).catalogue)}
    found: dict[str, list[tuple[str, int, int]]] = {group: [] for group in GROUPS}
    for record in data.records:
        style = {is_long(option) for option in record.options}
        if len(style) == 1 and partition.is_heldout(record.user, salt_of(seed)):
            assert record.choice is not None
            texts = [place[text] for text in record.texts]
            new = is_unseen(titles[record.prompt], seed)
            row = (record.user, texts[record.choice], texts[1 - record.choice])
            found[_group(new, *style)].append(row)
    return {
        group: Votes(
            tuple(user for user, _, _ in rows), *np.array([r[1:] for r in rows]).T
        )
        for group, rows in found.items()
    }


def texts_of(folder: Path, seed: int) -> dict[str, Integer]:
    """Places of the texts of each group; those of the first are trained on."""
    known = arguments.read_arguments(folder / arguments.TEXTS)
    prompt = arguments.TEMPLATES["prompt"]
    groups = {
        f"{prompt.fill(row)}\n{row['text']}": _group(
            is_unseen(row["title"], seed), is_long(row["text"])
        )
        for row in known.values()
    }
    each = np.array([groups[text] for text in arguments.read(folder).catalogue])
    return {group: np.flatnonzero(each == group) for group in GROUPS}


def _group(new: bool, long: bool) -> str:
    return GROUPS[new + 2 * long]


def measured(scores: Float, votes: Votes, scale: float = 1.0) -> dict[str, Float]:
    """Of each pair: right (a tie is half), confidence minus that, and log-loss.

    >>> votes = Votes(("ada",), np.array([1]), np.array([0]))
    >>> [m.round(3).item() for m in measured(np.log([1.0, 3.0]), votes).values()]
    [1.0, -0.25, 0.288]
    """
    gap = scale * (scores[votes.chosen] - scores[votes.other])
    right = np.where(np.abs(gap) <= TIE, 0.5, gap > 0)
    sure = np.exp(-np.logaddexp(0.0, -np.abs(gap)))
    return {"right": right, "over": sure - right, "loss": np.logaddexp(0.0, -gap)}


def best_scale(scores: Float, votes: Votes) -> float:
    """The one factor on all rewards with the least log-loss on ``votes``."""
    loss = [measured(scores, votes, scale)["loss"].mean() for scale in SCALES]
    return float(SCALES[int(np.argmin(loss))])


def interval_of(values: Float, users: Sequence[str]) -> tuple[float, float]:
    """95 % of the mean over pairs, people resampled with all their seeds."""
    number = {user: i for i, user in enumerate(dict.fromkeys(users))}
    place = np.array([number[user] for user in users])
    pairs = np.bincount(place)
    return interval(np.bincount(place, values).astype(np.float64), pairs, 0)


@dataclass(frozen=True)
class Study:
    """What there is, of the seeds that are finished."""

    found: dict[str, Any]
    seeds: tuple[int, ...]
    votes: dict[int, dict[str, Votes]]
    texts: dict[int, dict[str, Integer]]
    scales: dict[str, float]

    def cell(self, seed: int, row: str, noise: str) -> dict[str, Float]:
        """Scores and norms of one training, by text."""
        one = self.found[_key(seed, row, noise)]
        return {name: np.array(one[name]) for name in ("scores", "norms")}

    def pairs(
        self, row: str, noise: str, group: str, what: str, *, scaled: bool = False
    ) -> Float:
        """One number a pair, seed after seed."""
        out = []
        for seed in self.seeds:
            scores = self.cell(seed, row, noise)["scores"]
            scale = self.scales[_key(seed, row, noise)] if scaled else 1.0
            out.append(measured(scores, self.votes[seed][group], scale)[what])
        return np.concatenate(out)

    def users(self, group: str) -> list[str]:
        """Who voted on each of these pairs."""
        return [u for seed in self.seeds for u in self.votes[seed][group].users]


def study_of(
    folder: Path, found: dict[str, Any], rows: Sequence[tuple[str, str]]
) -> Study:
    """The seeds of which every row is there."""
    seeds = tuple(
        seed
        for seed in range(1, SEEDS + 1)
        if all(_key(seed, *row) in found for row in rows)
    )
    votes = {seed: votes_of(folder, seed) for seed in seeds}
    scales = {
        _key(seed, *row): best_scale(
            np.array(found[_key(seed, *row)]["scores"]), votes[seed][GROUPS[0]]
        )
        for seed in seeds
        for row in rows
    }
    texts = {seed: texts_of(folder, seed) for seed in seeds}
    return Study(found, seeds, votes, texts, scales)


def compared(study: Study, what: str, *, scaled: bool = False) -> Iterator[str]:
    """A table in points: each row's own value, and minus its reference with 95 %."""
    yield _line("objective", "noise", *GROUPS)
    yield "|---|---|" + "---|" * len(GROUPS)
    for name, noise in ORDER:
        base = REFERENCE.get(name, BASE)
        cells = []
        for group in GROUPS:
            own = study.pairs(name, noise, group, what, scaled=scaled)
            text = f"{100 * own.mean():.1f}"
            if name != base:
                gain = own - study.pairs(base, noise, group, what, scaled=scaled)
                low, high = interval_of(gain, study.users(group))
                text += f" ({100 * gain.mean():+.1f}: "
                text += f"{100 * low:+.1f} to {100 * high:+.1f})"
            cells.append(text)
        yield _line(name, noise, *cells)


def losses(study: Study) -> Iterator[str]:
    """Log-loss in nats, as trained and at the one scale that fits in-domain."""
    yield _line("objective", "noise", *GROUPS)
    yield "|---|---|" + "---|" * len(GROUPS)
    for name, noise in ORDER:
        cells = [
            " / ".join(
                f"{study.pairs(name, noise, group, 'loss', scaled=scaled).mean():.3f}"
                for scaled in (False, True)
            )
            for group in GROUPS
        ]
        yield _line(name, noise, *cells)


def spreads(study: Study) -> Iterator[str]:
    """Spread of what the head reads and of rewards, means over seeds."""
    groups = [f"norms, {group}" for group in GROUPS]
    yield _line("objective", "noise", *groups, "mean reward", "sd", "sd, style")
    yield "|---|---|" + "---|" * (len(GROUPS) + 3)
    first = _mean_spread(study, START, NONE)
    for name, noise in [(START, NONE), *ORDER]:
        own = _mean_spread(study, name, noise)
        times = own[:8] / first[:8]
        cells = [
            f"{own[i]:.2f} (x{times[i]:.2f}; sd x{times[i + 4]:.2f})" for i in range(4)
        ]
        yield _line(name, noise, *cells, *(f"{value:.2f}" for value in own[8:]))


def _mean_spread(study: Study, name: str, noise: str) -> Float:
    each = [spread(study.cell(s, name, noise), study.texts[s]) for s in study.seeds]
    mean: Float = np.mean(each, axis=0)
    return mean


def spread(cell: dict[str, Float], texts: dict[str, Integer]) -> list[float]:
    """By group: sd of norms over their mean, then sd; mean and sd of rewards.

    Rewards are those of the texts of training, and the last sd that of the other style.

    >>> cell = {"norms": np.array([1.0, 3.0]), "scores": np.array([0.0, 4.0])}
    >>> spread(cell, dict.fromkeys(GROUPS, np.arange(2)))
    [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    """
    norms = [cell["norms"][texts[group]] for group in GROUPS]
    own, far = (cell["scores"][texts[group]] for group in (GROUPS[0], GROUPS[2]))
    out = [*(n.std() / n.mean() for n in norms), *(n.std() for n in norms)]
    return [float(value) for value in (*out, own.mean(), own.std(), far.std())]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def run(folder: Path, seeds: int, kept: Path) -> dict[str, Any]:
    """Every cell that is missing in ``kept``, seed after seed."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in range(1, seeds + 1):
        keys = {_key(seed, *row): row for row in [(START, NONE), *ORDER]}
        missing = {key: row for key, row in keys.items() if key not in found}
        if not missing:
            continue
        bench = bench_of(folder, seed)
        for key, row in missing.items():
            begun = time.process_time()
            found[key] = cell(bench, *row)
            kept.write_text(json.dumps(found))
            print(f"{key}: {time.process_time() - begun:.0f} s", flush=True)
    return found


def _key(seed: int, name: str, noise: str) -> str:
    return f"{seed} / {noise} / {name}"


def main() -> None:
    """Run what is missing and print the tables of the seeds that are finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("robust_rewards.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = run(given.folder.resolve(), given.seeds, given.runs)
    study = study_of(given.folder, found, ORDER)
    counts = ", ".join(
        f"{group} {len(study.users(group)):,} of {len(set(study.users(group))):,}"
        for group in GROUPS
    )
    print(f"Seeds {study.seeds}. Votes of people: {counts}.\n")
    tables = {
        "Accuracy, %": compared(study, "right"),
        "Over-confidence, points": compared(study, "over"),
        "Over-confidence at one scale, points": compared(study, "over", scaled=True),
        "Log-loss, as trained / at one scale": losses(study),
        "Spread": spreads(study),
    }
    for title, rows in tables.items():
        print(f"### {title}\n\n" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
