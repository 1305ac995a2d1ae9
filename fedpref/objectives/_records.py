"""Whether records are what an objective learns from, before anything is trained.

Guarantees: every record that does not fit is reported, with its line where the file is
known, what is wrong with it, and which objectives would fit. No message shows a
person's text, answer or name.

Does not give: a count of tokens. A text that a tokenizer makes nothing of is found
where it is read.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from fedpref.core.types import Record
from fedpref.errors import InputError, RecordError
from fedpref.objectives._about import Coupling, Takes, Trains
from fedpref.objectives._catalogue import about, names

_SHOWN = 5  # objectives that a message suggests
_WANTS = {
    Takes.CHOICE: "a choice among two or more texts",
    Takes.PAIR: "a choice between two texts",
    Takes.THUMB: "`completion` and `label`",
    Takes.LABELS: "two texts with `labels` for two or more objectives",
}


def check_records(
    records: Sequence[Record], name: str, *, source: str, lines: Sequence[int] = ()
) -> None:
    """Refuse records from which the objective ``name`` cannot learn.

    Args:
        records: all records of the data.
        name: the objective.
        source: what to call the data in the message.
        lines: the line of each record, where they come from a file.

    Raises:
        ObjectiveError: there is no such objective.
        RecordError: lines that do not fit, all of them with their numbers.
        InputError: records that do not fit, where no lines are known.
    """
    problems = list(_problems(records, name))
    if problems and lines:
        raise RecordError(source, [(lines[place], why) for place, why in problems])
    if problems:
        place, why = problems[0]
        raise InputError(
            f"{source}: {len(problems)} of {len(records)} records do not fit; "
            f"record {place + 1}: {why}"
        )


def _problems(records: Sequence[Record], name: str) -> Iterator[tuple[int, str]]:
    """The place of each record that does not fit, and why."""
    takes = about(name).takes
    asked = {label for record in records for label in record.labels}
    hints = {form: _instead(name, form) for form in Takes}
    for place, record in enumerate(records):
        why, form = _reason(record, takes, asked)
        if why:
            hint = f"; {hints[form]}" if form else ""
            yield place, f"{why}; {name} needs {_WANTS[takes]}{hint}"


def _reason(record: Record, takes: Takes, asked: set[str]) -> tuple[str, Takes | None]:
    """What is wrong with a record, and what it would do for instead."""
    if not all(option.strip() for option in record.options):
        return "an empty completion", None
    if record.choice is None:
        return ("", None) if takes is Takes.THUMB else ("a thumb", Takes.THUMB)
    form = Takes.PAIR if len(record.options) == 2 else Takes.CHOICE
    if takes is Takes.THUMB:
        return "a choice", form
    if takes is Takes.CHOICE and len(record.options) >= 2:
        return "", None
    if form is not Takes.PAIR:
        return f"options = {len(record.options)}", form
    if takes is Takes.LABELS and not record.labels:
        return "no `labels`", form
    if takes is Takes.LABELS and len(asked) < 2:
        return "`labels` of one objective in the whole data", form
    return "", None


def _instead(name: str, form: Takes) -> str:
    """Objectives that learn from records of ``form``, the nearest ones first."""
    trains = about(name).trains
    fits = {Takes.CHOICE, form} if form is not Takes.THUMB else {form}
    found: dict[Trains, list[str]] = {kind: [] for kind in Trains}
    for other in names():
        said = about(other)
        if said.takes in fits and said.coupling in (Coupling.NONE, Coupling.USER):
            found[said.trains].append(other)
    if not found[trains]:
        (other_kind,) = (kind for kind in Trains if kind is not trains)
        usable = ", ".join(found[other_kind][:_SHOWN])
        return f"no {trains} objective takes them; with a {other_kind}: {usable}"
    close = get_close_matches(name, found[trains], n=_SHOWN, cutoff=0.0)
    return f"what fits: {', '.join(close)}"
