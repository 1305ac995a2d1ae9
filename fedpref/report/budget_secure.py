"""What has to be true for distributed noise, and what each assumption buys.

Guarantees: every number comes from the answer; what is not claimed is said. Does not
compute prices.
"""

from collections.abc import Iterator
from math import sqrt

from fedpref.cohorts import DROPOUTS
from fedpref.core.types import Adversary, Unit
from fedpref.planning import Answer
from fedpref.questions import LARGEST_EPSILON, Takes
from fedpref.report.words import epsilon_text, percent
from fedpref.secagg.neighbours import MOST_COMPLETE


def assumptions(answer: Answer) -> Iterator[str]:
    """What has to be true for the epsilons to hold."""
    counts = answer.question.wanted.cohort
    yield (
        f"at most {counts.colluders} of {counts.largest} people are bad identities or "
        "work against the others, also together with the server"
    )
    yield (
        "the list of people is signed by an authority whose key is not the server's, "
        "and one person is one identity, and is in this data once"
    )
    yield (
        f"every device gives a round up with fewer than {counts.min_survivors} answers"
        f"; {counts.contributors} honest shares make up the noise that is booked"
    )
    yield "the cryptography of the secure sum holds, and devices run it as written"
    yield (
        "who is online does not depend on the answers, and a device that fails sends "
        "a message of the same size at the same time"
    )
    yield (
        "rounds, noise and sampling are fixed before the first release, and stopping "
        "early returns nothing"
    )
    if not counts.neighbours and counts.largest > MOST_COMPLETE:
        yield "everybody shares secrets with everybody (secagg.graph = complete)"
    yield from _draws(answer)


def buys(answer: Answer) -> Iterator[str]:
    """What each assumption is worth, in epsilon or in noise."""
    counts = answer.question.wanted.cohort
    server = answer.epsilon[Adversary.SERVER]
    if counts.neighbours:
        yield (
            f"The secure sum among {counts.people} people: nothing is claimed against "
            "the server, because each device shares secrets with a few others only. "
            "Smaller cohorts have an epsilon there."
        )
    else:
        yield (
            f"The secure sum and noise from the devices: epsilon "
            f"{_at_most(server)} against the server. Without it, the same noise added "
            "by the server would buy nothing against the server: infinite."
        )
    more = sqrt(counts.people / counts.contributors)
    yield (
        f"Least survivors and colluders: if all {counts.people} answer and nobody "
        f"colludes, the sum carries {more:.3f} times the noise that is booked. "
        "Promising more survivors or fewer colluders would lower that, not epsilon."
    )
    yield from _sampling(answer)


def _draws(answer: Answer) -> Iterator[str]:
    asked = answer.question
    if asked.participation is Takes.HIDDEN:
        who = "person's" if asked.unit is Unit.USER else "record's"
        yield (
            f"whether a {who} answer counts is decided on the device by a fresh secret "
            f"coin of probability {asked.cohort}/{asked.users}, and shows in nothing "
            "that the device does"
        )
    elif asked.amplified:
        yield (
            f"the server draws each person with a fresh coin of probability "
            f"{asked.cohort}/{asked.users} and keeps the draw secret; at most "
            f"{percent(float(DROPOUTS))} of the drawn fail to answer"
        )


def _sampling(answer: Answer) -> Iterator[str]:
    asked = answer.question
    if asked.participation is Takes.HIDDEN:
        assert answer.unsampled is not None
        yield (
            f"The devices' own secret coins: epsilon {epsilon_text(answer.price)} "
            f"instead of {_at_most(answer.unsampled)}, against everybody."
        )
    elif asked.amplified:
        yield (
            "The server's secret draw: epsilon "
            f"{epsilon_text(answer.epsilon[Adversary.OUTSIDER])} against people who "
            "are not enrolled. Against the server and the members, who see the "
            "cohort, it buys nothing."
        )
    elif asked.participation is Takes.SERVER:
        yield f"The server's secret draw: nothing, because {_why_not(answer)}."


def _why_not(answer: Answer) -> str:
    asked, counts = answer.question, answer.question.wanted.cohort
    if asked.cohort == asked.users:
        return "everybody is drawn"
    if asked.unit is not Unit.USER:
        return "the other records of a person show whether they were drawn"
    return (
        f"a round is given up below {counts.min_survivors} answers or above "
        f"{counts.largest} people, and where one person more or less decides that, "
        "it shows who was drawn; larger cohorts with a lower --min-survivors hide it"
    )


def _at_most(epsilon: float) -> str:
    """Beyond what a plan may have, the number has no meaning."""
    if LARGEST_EPSILON < epsilon < float("inf"):
        return f"more than {LARGEST_EPSILON:g}"
    return epsilon_text(epsilon)
