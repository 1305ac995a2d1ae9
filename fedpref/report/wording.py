"""What each kind of noise means, in sentences, adversary by adversary."""

from dataclasses import dataclass, replace

from fedpref.core.types import Adversary, Noise

SERVER, OUTSIDER = Adversary.SERVER, Adversary.OUTSIDER
EVERY_UPDATE = "every update of every person in every round"
MASKED_UPDATES = (
    "masked vectors, each of them uniform; who takes part; and in each round one sum "
    "that carries everybody's noise"
)
MODEL = "everything that was released, and this statement"

SIMULATION_ONLY = (
    "the accuracies in the report: simulation only; they are measured on held-out "
    "people without noise, and some baselines are fitted on everybody without noise"
)
BARE_SERVER = (
    "The server sees every update: against it nothing is promised (epsilon = infinite)."
)
AT_HOME = (
    "what a person's own device makes of their answers: that offset is not released, "
    "no epsilon covers it, and scores that its owner shows to others tell about them"
)
AS_IF = (
    "the masks: this run summed without them (secagg.mode = sum), so its server's "
    "epsilon is that of the same plan as if run with the protocol"
)


UNMASKED_UPDATES = (
    "in this run, which summed without masks, every contribution with its own share of "
    "the noise"
)


@dataclass(frozen=True)
class Wording:
    """What one kind of noise means, adversary by adversary.

    ``promise`` may contain ``{promise}``: epsilon, delta and unit, and ``{released}``;
    ``{colluders}`` and ``{survivors}`` stand for the plan's counts anywhere.
    ``protects`` is None where nothing does.
    """

    server_sees: str
    protects: dict[Adversary, str | None]
    promise: dict[Adversary, str]
    assumptions: tuple[str, ...]
    trusted: dict[str, str]
    not_protected: tuple[str, ...]


_ONE_PERSON = "one person is one identity, and is in this data once"
_ONLINE = "who is online does not depend on the answers"
_TAKES_PART = (
    "that a person takes part, and in which rounds, is not hidden; what they "
    "contribute is"
)
_NEAR_COPIES = (
    "people whose answers are nearly the same as somebody else's: what one of "
    "them adds is bounded, what they share is not"
)
_MENUS = "the menus, texts and attributes on offer: they count as public"
_CHOSEN = (
    "the choice of clip, learning rate and rounds: where these were chosen by "
    "looking at results on these people, that look is not booked in epsilon"
)
_OTHER_RUNS = "several runs that do not share a ledger: their epsilons add up unseen"

WORDS = {
    Noise.DISTRIBUTED: Wording(
        server_sees=MASKED_UPDATES,
        protects={
            SERVER: "secure aggregation that the devices check, and Skellam noise that "
            "every device adds its share of",
            OUTSIDER: "Skellam noise that every device adds its share of",
        },
        promise={
            SERVER: "Against the server, even one that lies and has {colluders} of the "
            "devices on its side: {promise}.",
            OUTSIDER: "Against everybody who sees only {released}: {promise}.",
        },
        assumptions=(
            "at most {colluders} of the devices in a round are bad, and at least "
            "{survivors} uploads are in every sum; devices refuse smaller ones",
            "the roster of devices is signed by an authority that is not the server; "
            "if one operator holds both keys, an honest roster is assumed",
            _ONE_PERSON,
            _ONLINE,
            "X25519, Ed25519, HKDF-SHA256, AES-256 and SHA-256 hold",
            "devices draw masks and noise from operating-system entropy",
        ),
        trusted={
            "server": "nothing about the answers; that the service runs at all",
            "devices": "all but {colluders}: to add their share of noise, and to "
            "release shares for one list of survivors only",
            "readers of the model": "nothing",
        },
        not_protected=(
            _TAKES_PART,
            "the model from people who lie: masks hide a contribution that is made to "
            "do harm, and each is bounded by the clip in every round",
            _NEAR_COPIES,
            _MENUS,
            _CHOSEN,
            SIMULATION_ONLY,
            _OTHER_RUNS,
        ),
    ),
    Noise.CENTRAL: Wording(
        server_sees=EVERY_UPDATE,
        protects={
            SERVER: None,
            OUTSIDER: "Gaussian noise on the sum of the clipped contributions, added "
            "by the server",
        },
        promise={
            SERVER: BARE_SERVER,
            OUTSIDER: "Against everybody who sees only {released}: {promise}.",
        },
        assumptions=(
            "the server keeps the updates to itself, clips and sums them as it says, "
            "adds the noise, and draws it from operating-system entropy",
            _ONE_PERSON,
            _ONLINE,
            "only the released model and the numbers of the plan are published",
            "noise that is computed in 64-bit floating point counts as exact",
        ),
        trusted={
            "server": "every update in the clear; clipping, summing and the noise",
            "readers of the model": "nothing",
        },
        not_protected=(
            _TAKES_PART,
            _NEAR_COPIES,
            _MENUS,
            _CHOSEN,
            SIMULATION_ONLY,
            _OTHER_RUNS,
        ),
    ),
    Noise.NONE: Wording(
        server_sees=EVERY_UPDATE,
        protects={SERVER: None, OUTSIDER: None},
        promise={
            SERVER: BARE_SERVER,
            OUTSIDER: "No noise was added: against those who see {released} "
            "nothing is promised either (epsilon = infinite).",
        },
        assumptions=(),
        trusted={
            "server": "every update in the clear",
            "readers of the model": "everything that the model gives away",
        },
        not_protected=(
            "any answer: the model may give away what it was trained on, to anybody",
            SIMULATION_ONLY,
        ),
    ),
}


def without_masks(words: Wording) -> Wording:
    """The wording of a distributed run whose masks were left out."""
    server = "Against the server, as if run with the protocol, even one that lies and "
    return replace(
        words,
        server_sees=UNMASKED_UPDATES,
        protects={
            **words.protects,
            SERVER: "nothing in this run; under the protocol, secure aggregation and "
            "the same noise",
        },
        promise={
            **words.promise,
            SERVER: server + "has {colluders} of the devices on its side: {promise}. "
            "This run summed without masks, so it is a figure for the plan only.",
        },
        trusted={
            **words.trusted,
            "server": "in this run, every contribution; under the protocol, nothing "
            "about the answers",
        },
    )
