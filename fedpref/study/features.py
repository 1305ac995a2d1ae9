"""What the models of a study read of a text: features from words or from attributes.

Guarantees: both maps are fitted on the public catalogue alone and are the same on every
device, so features are no release. Embeddings are computed once for a catalogue and
kept in the cache folder, under a name that has the encoder and every text in it; a file
that is not what it says is not used.

Does not: keep an embedding of a text that is not in a public catalogue, or check that a
catalogue is public: ``fedpref.data.sources`` says so of each set.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from fedpref.core.types import Float
from fedpref.data import assets
from fedpref.data.assets import Asset
from fedpref.errors import InputError, OutputError
from fedpref.models.features import fit_features

Features = Callable[[Sequence[str]], Float]
"""Texts to rows ``[texts, d]``; each text has to be in the public catalogue."""

Single = NDArray[np.float32]

FOLDER = "embeddings"
MOST_LEVELS = 12  # a column of numbers with more different ones is used as a number
_TENSOR = "embeddings"


def from_words(catalogue: Sequence[str], directions: int) -> Features:
    """MiniLM embeddings, centred and whitened on the catalogue.

    Args:
        catalogue: Public texts.
        directions: How many, or fewer where the catalogue does not vary in as many.

    Raises:
        AssetMissing: The encoder has not been fetched.
    """
    texts = tuple(dict.fromkeys(catalogue))
    pooled = embeddings(texts)
    usable = int(np.linalg.matrix_rank(pooled - pooled.mean(axis=0), rtol=1e-3))
    return _table(texts, fit_features(pooled, min(directions, usable))(pooled))


def from_attributes(rows: Mapping[str, Mapping[str, str]]) -> Features:
    """Attributes one-hot, each column standardised over the catalogue, over sqrt(d).

    A column of numbers with more than ``MOST_LEVELS`` different ones is one column: the
    number itself.

    Args:
        rows: Attributes of each text of the public catalogue.

    Raises:
        InputError: There are none.

    >>> of = from_attributes({"a": {"fee": "1"}, "b": {"fee": "3"}})
    >>> of(["b", "a"]).round(3).tolist()
    [[-0.707, 0.707], [0.707, -0.707]]
    """
    if not rows:
        raise InputError(
            "attributes: this set has none beside its texts; leave the model out"
        )
    names = sorted({name for row in rows.values() for name in row})
    columns = np.column_stack([_column(name, rows) for name in names])
    spread = columns.std(axis=0)
    varied = spread > 1e-9
    if not varied.any():
        raise InputError("attributes: no column varies; leave the model out")
    shaped = (columns - columns.mean(axis=0))[:, varied] / spread[varied]
    return _table(tuple(rows), shaped / np.sqrt(shaped.shape[1]))


def embeddings(texts: Sequence[str], *, cache: Path | None = None) -> Float:
    """Frozen MiniLM embeddings of PUBLIC texts, float64 ``[texts, hidden]``.

    Args:
        texts: Distinct texts of a public catalogue.
        cache: The cache folder; ``assets.cache_folder()`` by default.

    Raises:
        AssetMissing: The encoder has not been fetched.
        OutputError: The cache folder cannot be written.
    """
    name = digest(texts, assets.MINILM)
    path = (cache or assets.cache_folder()) / FOLDER / f"{name}.safetensors"
    found = _read(path, name, len(texts))
    if found is None:
        found = _embed(texts).astype(np.float32)
        _write(path, name, found)
    return found.astype(np.float64)


def digest(texts: Sequence[str], base: Asset) -> str:
    """SHA-256 of the encoder's files and of every text, in hexadecimal."""
    seen = hashlib.sha256(f"fedpref embeddings 1\0{base.sums_sha256}\0".encode())
    for text in texts:
        content = text.encode()
        seen.update(len(content).to_bytes(8, "big") + content)
    return seen.hexdigest()


def _embed(texts: Sequence[str]) -> Float:
    from fedpref.models.bases import load_base
    from fedpref.models.reward import embed

    return embed(load_base(assets.locate(assets.MINILM), name="minilm"), texts)


def _column(name: str, rows: Mapping[str, Mapping[str, str]]) -> Float:
    """One attribute of all texts, ``[texts, levels]``; an absent one is all zeros."""
    values = [row.get(name) for row in rows.values()]
    levels = sorted({value for value in values if value is not None})
    numbers = [_number(level) for level in levels]
    if len(levels) > MOST_LEVELS and None not in numbers:
        return np.array([[_number(value or "0") or 0.0] for value in values])
    return np.array([[float(value == level) for level in levels] for value in values])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _table(texts: Sequence[str], rows: Float) -> Features:
    place = {text: number for number, text in enumerate(texts)}

    def features(wanted: Sequence[str]) -> Float:
        try:
            return rows[[place[text] for text in wanted]]
        except KeyError:
            raise InputError(
                "a text is not in the public catalogue that features were made of; "
                "load the people to predict with the same catalogue"
            ) from None

    return features


def _read(path: Path, name: str, texts: int) -> Single | None:
    """What the file holds, if it is whole and of these texts."""
    try:
        with safe_open(str(path), framework="numpy") as stream:
            about = stream.metadata() or {}
            found = np.ascontiguousarray(stream.get_tensor(_TENSOR))
    except (OSError, SafetensorError):
        return None
    kept = about.get("texts") == name and about.get("sha256") == _hash(found)
    return found if kept and found.ndim == 2 and len(found) == texts else None


def _write(path: Path, name: str, found: Single) -> None:
    """Whole or not at all: written beside its place and moved there."""
    about = {"texts": name, "sha256": _hash(found)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(to_bytes({_TENSOR: found}, metadata=about))
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cache folder {path.parent}: {error.strerror or error}; free some space, "
            "or set FEDPREF_CACHE to a folder that can be written"
        ) from error


def _hash(found: Single) -> str:
    return hashlib.sha256(found.tobytes()).hexdigest()
