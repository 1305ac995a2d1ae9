"""Every lie, by name, in the order of the protocol."""

from collections.abc import Mapping

# importing them enters them
from tests.lies import (  # noqa: F401
    certificates,
    deliveries,
    enrolment,
    forms,
    graphs,
    invitation,
    keys,
    ledgers,
    rounds,
    terms,
    views,
)
from tests.lies.lie import LEGS, LIES, Lie

CATALOGUE: Mapping[str, Lie] = dict(
    sorted(LIES.items(), key=lambda entry: LEGS.index(entry[1].leg))
)
