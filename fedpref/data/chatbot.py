"""Chatbot vignettes: how appropriate people find it to share their conversations.

Each person rated about thirty described data flows from 0 to 100 (Tran et al., AIES
2025, arXiv 2508.06760): who gets the conversations, where, what for, with which consent
and which removal of what identifies people.

Guarantees: every rating of the folder is kept; ``records`` are the pairs within a
person whose scores are at least 10 apart.

Does not give: certainty about which text belongs to which rating. The upstream long
file is misaligned, and the folder holds a repair that was inferred from the data;
``NOTICE`` says so wherever the set is used.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from fedpref.core.types import Record
from fedpref.data import _table, ratings, wording
from fedpref.data.dataset import Dataset, Rating
from fedpref.data.wording import Template
from fedpref.errors import RecordError

NAME = "chatbot-privacy-vignettes"
FILE, USERS = "vignette-ratings.csv.gz", "users.csv.gz"
VIGNETTES = 30
ROLES = (
    "a big tech company",
    "a charitable foundation",
    "a government agency",
    "a hospital",
    "a university computer science researcher",
    "a university social science researcher",
    "an insurance company",
)
PURPOSES = (
    "assessing mental health",
    "creating a public dataset for AI research",
    "fighting terrorism",
    "improving user experience with AI",
    "personalizing advertising",
    "predicting human behavior",
    "studying AI risks to society",
    "training future AI models",
)
CONTENTS = (
    "All of your conversations with ChatGPT",
    "Your conversations with ChatGPT about social life and personal relationships",
    "Your conversations with ChatGPT about your personal health and wellness",
    "Your conversations with ChatGPT where you sought legal or ethical guidance",
    "Your conversations with ChatGPT where you used the model to help with your job",
)
CONSENTS = (
    "asked for consent in advance of the data being collected",
    "informed that your data was collected",
    "not informed that your data was collected",
)
FACTORS = {
    "role": ROLES,
    "location": ("China", "the European Union", "the US"),
    "purpose": PURPOSES,
    "content": CONTENTS,
    "consent": CONSENTS,
    "anonymization": ("anonymized", "not anonymized"),
    "pii_removal": ("automatically removed", "not removed"),
}
HEADER = ("user_id", "vignette", *FACTORS, "appropriate_score", "concern_score")
TEMPLATES = {
    "vignette": Template(
        "Your ChatGPT conversations were shared with {role} based in {location} for "
        "the purpose of {purpose}. {content} were shared. You were {consent}. Your "
        "conversations were {anonymization} before being shared. Personally "
        "identifying information from your conversations was {pii_removal}.",
        tuple(FACTORS),
    )
}
USERS_HEADER = (
    "user_id",
    "chatbot_conversation_history_personalization",
    "search_history_personalization",
    "email_personalization",
    "device_personalization",
    "chatbot_conversation_history_valuation",
    "search_history_valuation",
    "email_valuation",
    "device_valuation",
    "search_engine_history",
    "popularity_history",
    "content_mod_history",
    "product_recs_history",
    "concerned_pc",
    "trust_pc",
    "privacy_important_pc",
    "concerns_gpt_pc",
    "private_gpt_pc",
    "inaccurate_info_concern",
    "not_understanding_what_AI_can_do_concern",
    "misused_concern",
    "Usage",
    "year_start_using",
    "account_type",
)
GROUPS = {"Usage": "usage", "account_type": "account"}

NOTICE = (
    f"{NAME}: REALIGNED. The source's own long file pairs ratings with the wrong "
    "vignettes; the folder holds a repair inferred from the data (29 of 30 vignettes "
    "have one clear partner), not a statement by the authors"
)

PAIRS_NOTE = (
    'a pair is not an answer, one rating sits in many: only unit = "user" protects a '
    "rating"
)

Vignette = tuple[str, ...]  # one level of each factor


def read(folder: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """All ratings in ``folder``, and the pairs made from them.

    Raises:
        InputError: a file is missing or not of this set.
        RecordError: rows are bad, or a person rates one vignette twice.
    """
    path = folder / FILE
    rows = _table.read(path, HEADER, _row)
    _once(path, rows)
    vignettes = dict.fromkeys(vignette for *_, vignette, _ in rows)
    texts = {
        vignette: templates["vignette"].fill(dict(zip(FACTORS, vignette, strict=True)))
        for vignette in vignettes
    }
    table, lost = wording.tabulate(
        (texts[v], dict(zip(FACTORS, v, strict=True))) for v in vignettes
    )
    rated = tuple(Rating(user, texts[v], score) for _, user, _, v, score in rows)
    records, dropped = ratings.pairs(rated)
    people = dict.fromkeys(rating.user for rating in rated)
    groups = _groups(folder / USERS)
    first = (
        f"{NAME}: {len(people):,} people, {len(rated):,} ratings, {len(records):,} "
        f"pairs, {len(table):,} distinct texts; Tran et al. (2025), data DOI "
        "10.7910/DVN/M6ABJ3, terms of the deposit not checked: cite, do not republish"
    )
    return Dataset(
        NAME,
        records,
        tuple(table),
        table,
        (NOTICE, first),
        texts_public=True,
        people={user: groups[user] for user in people if user in groups},
        ratings=rated,
        dropped=dropped,
    ).with_notes(
        PAIRS_NOTE, ratings.repeats(rated), _without_pairs(people, records), lost
    )


def _without_pairs(people: Iterable[str], records: Iterable[Record]) -> str:
    paired = {record.user for record in records}
    without = sum(user not in paired for user in people)
    return f"{without:,} people rate so evenly that they have no pair" * (without > 0)


def _once(path: Path, rows: Iterable[tuple[int, str, int, Vignette, float]]) -> None:
    """A second rating of one vignette by one person has no place in the design."""
    lines: dict[tuple[str, int], int] = {}
    twice = [
        (line, f"the same person and `vignette` as line {lines[user, number]}")
        for line, user, number, _, _ in rows
        if lines.setdefault((user, number), line) != line
    ]
    if twice:
        raise RecordError(str(path), twice)


def _row(
    line: int, row: _table.Row, why: list[str]
) -> tuple[int, str, int, Vignette, float]:
    user = _table.identifier(row, "user_id", why)
    number = _table.whole(row, "vignette", 0, VIGNETTES - 1, why)
    vignette = tuple(
        _table.one_of(row, factor, levels, why) for factor, levels in FACTORS.items()
    )
    score = _table.whole(row, "appropriate_score", 0, 100, why)
    _table.whole(row, "concern_score", 0, 100, why)
    return line, user, number, vignette, float(score)


def _groups(path: Path) -> dict[str, dict[str, str]]:
    """How much a person uses the chatbot, and with which account."""
    rows = _table.read(path, USERS_HEADER, _person)
    return _table.by_user(path, rows)


def _person(
    line: int, row: _table.Row, why: list[str]
) -> tuple[int, str, dict[str, str]]:
    user = _table.identifier(row, "user_id", why)
    return line, user, {name: row[column] for column, name in GROUPS.items()}
