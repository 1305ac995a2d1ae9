"""A released model, adapted at home: an own offset from a few own answers.

    score(text) = (head + offset) . features(text)

The offset is the most probable one given the owner's answers and the prior that the run
released, or the public prior where it released none.

Guarantees: nothing is sent anywhere; the offset's file is readable by its owner alone,
holds the offset and no answer, and fits no other model than the one it was made for.

Does not give: secrecy of the answers from somebody who has the file: an offset is a
summary of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from fedpref.core.types import Float, Record
from fedpref.data.formats import read_records
from fedpref.errors import InputError, IntegrityError
from fedpref.faults import guarded
from fedpref.models.reward import RewardModel
from fedpref.simulation.reward import Reward, load_model
from fedpref.store.checkpoints import write_atomic
from fedpref.study.answers import Answers, disagreements, from_records, only
from fedpref.study.likelihood import map_offsets, utilities
from fedpref.study.prior import isotropic

PRIOR = "prior.safetensors"
OFFSET = "personal.safetensors"
SPREAD = 2.5
"""Standard deviation of an own weight where a run says nothing: a public constant."""


@dataclass(frozen=True)
class Adapted:
    """An offset and what it did to its owner's own answers; private to the owner.

    ``common`` and ``own`` are shares of pairs that are ordered right, by the common
    model and by one adapted to the owner's *other* answers, each answer left out in
    turn; ``None`` with a single answer.
    """

    offset: Float
    answers: int
    disagreements: int
    common: float | None
    own: float | None


def save_prior(folder: Path, covariance: Float, *, released: bool) -> None:
    """Write the prior of a person's offset, ``[D, D]``, beside the model."""
    note = {"released": str(released).lower()}
    data = to_bytes({"covariance": covariance}, metadata=note)
    write_atomic(folder / PRIOR, data)


def load_prior(folder: Path, size: int) -> Float:
    """The prior of a run, ``[size, size]``; the public one where it wrote none.

    Raises:
        IntegrityError: Its file is damaged, or of another size.
    """
    if not (folder / PRIOR).exists():
        return isotropic(size, SPREAD)
    _, tensors = _read(folder / PRIOR)
    found = tensors.get("covariance", np.zeros(0))
    if found.shape != (size, size) or not np.isfinite(found).all():
        raise IntegrityError(f"{folder / PRIOR}: not a prior of {size} weights")
    covariance: Float = found.astype(np.float64)
    return covariance


@guarded
def personalise(run: Path, file: Path, out: Path | None = None) -> tuple[Adapted, Path]:
    """Fit an owner's offset to the model of ``run`` and write it.

    Args:
        run: A finished run.
        file: The owner's own choices, JSON Lines (docs/formats.md), of one user.
        out: Where the offset goes; ``personal.safetensors`` in the run by default.

    Returns:
        The offset, and where it was written.

    Raises:
        InputError: Not a finished run, or answers of several people, or thumbs.
        RecordError: Lines of the file are malformed.
        OutputError: The offset cannot be written.
    """
    model = load_model(run)
    records = read_records(file)
    users = {record.user for record in records}
    if len(users) > 1:
        raise InputError(
            f"{file}: users = {len(users)}, must be 1: an offset is of one person; "
            "give each person a file of their own"
        )
    adapted = adapt(model, records, load_prior(run, len(model.head)))
    path = run / OFFSET if out is None else out
    data = to_bytes({"offset": adapted.offset}, metadata={"model": _fingerprint(run)})
    write_atomic(path, data, mode=0o600)
    return adapted, path


def adapt(
    model: RewardModel, records: tuple[Record, ...], covariance: Float
) -> Adapted:
    """The most probable offset of one person's choices under a prior ``[D, D]``."""
    answers = from_records({"own": records}, model.features)
    head, precision = model.head.numpy(), np.linalg.inv(covariance)
    precision = (precision + precision.T) / 2
    common = own = None
    if len(records) > 1:
        common, own = _left_out(answers, head, precision)
    return Adapted(
        offset=map_offsets(answers, head, precision).mean[0],
        answers=len(records),
        disagreements=int(disagreements(answers)[0]),
        common=common,
        own=own,
    )


def load_personal(run: Path, offset: Path | None = None) -> Reward:
    """The model of ``run`` with an owner's offset.

    Raises:
        InputError: There is no offset, or it is of another model.
        IntegrityError: Its file is damaged.
    """
    path = run / OFFSET if offset is None else offset
    if not path.is_file():
        raise InputError(
            f"{path}: no offset there; make one with fedpref personalise {run} FILE"
        )
    model = load_model(run)
    about, tensors = _read(path)
    if about.get("model") != _fingerprint(run):
        raise InputError(
            f"{path}: was made for another model; make one for this one with "
            f"fedpref personalise {run} FILE"
        )
    found = tensors.get("offset", np.zeros(0))
    if found.shape != (len(model.head),) or not np.isfinite(found).all():
        raise IntegrityError(f"{path}: not an offset of {len(model.head)} weights")
    return Reward(model, found.astype(np.float64))


def _left_out(answers: Answers, head: Float, precision: Float) -> tuple[float, float]:
    """Shares of pairs ordered right, each answer predicted from the others."""
    records = np.arange(len(answers.start))
    right = np.zeros(2)
    for left in records:
        asked, others = only(answers, records == left), only(answers, records != left)
        offset = map_offsets(others, head, precision).mean[0]
        for place, weights in enumerate((head, head + offset)):
            right[place] += _pairs_right(asked, weights)
    pairs = len(answers.text) - len(answers.start)
    return float(right[0] / pairs), float(right[1] / pairs)


def _pairs_right(asked: Answers, weights: Float) -> float:
    """How many options are below the chosen one; a tie counts half."""
    score = utilities(asked, weights)
    gap = score[asked.chosen[0]] - np.delete(score, asked.chosen[0])
    return float((gap > 0).sum() + 0.5 * (gap == 0).sum())


def _fingerprint(run: Path) -> str:
    """SHA-256 of everything that the model of a run consists of."""
    digest = sha256()
    for name in ("head.safetensors", "model.json", "adapter/adapter_model.safetensors"):
        if (run / name).is_file():
            digest.update(sha256((run / name).read_bytes()).digest())
    return digest.hexdigest()


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return stream.metadata() or {}, tensors
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path}: cannot be read; make it anew") from error
