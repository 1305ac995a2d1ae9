"""What a loaded data set is: answers, public texts, and what was left out.

Guarantees: frozen values whose ``repr`` shows sizes only. ``dropped`` counts whatever
was not used, so that nothing disappears unsaid.

Does not give: privacy. ``records``, ``ratings`` and ``people`` are what people said.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedpref.core.types import Record

Rows = Mapping[str, Mapping[str, str]]  # by text or by person: column -> value


@dataclass(frozen=True, repr=False)
class Rating:
    """What one person thinks of one text, ``score`` from 0 to 100."""

    user: str
    text: str
    score: float

    def __repr__(self) -> str:
        return "Rating(contents hidden)"


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
        people: groups of each person (``{"gender": "female"}``); or empty.
        ratings: the ratings that ``records`` were made from, where people rated; ``()``
            where they chose.
        dropped: how many answers were not used, by reason.
        lines: the line of each record, where they come from a person's own file.
    """

    name: str
    records: tuple[Record, ...]
    catalogue: tuple[str, ...]
    attributes: Rows
    notes: tuple[str, ...]
    texts_public: bool = False
    people: Rows = field(default_factory=dict)
    ratings: tuple[Rating, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    def with_notes(self, *notes: str) -> "Dataset":
        """The same data with more notes; empty ones are left out."""
        more = tuple(note for note in notes if note)
        return dataclasses.replace(self, notes=self.notes + more)

    def __repr__(self) -> str:
        sizes = f"records={len(self.records)}, catalogue={len(self.catalogue)}"
        return f"Dataset({self.name!r}, {sizes}, contents hidden)"
