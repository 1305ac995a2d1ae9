"""Flower's SecAgg+ as a yardstick: its own functions, called directly and timed.

Nothing that trains or releases imports this. ``docs/pitfalls.md`` says why SecAgg+ is
not used: masks of 28 bits, and one message that opens any single update.

Guarantees: a cell that is run in full gives the right sum, or an error; a cell that
would take too long is timed for one client and says so. Does not give: a judgement on
security, or times of anything but the functions (no messages, no network).
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from time import process_time
from typing import Any

import numpy as np
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation import ndarrays_arithmetic as arithmetic
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
    decrypt,
    encrypt,
    generate_shared_key,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import (
    pseudo_rand_gen,
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
)

from fedpref.errors import IntegrityError

# The package exports a function of the module's own name, which hides the module.
_mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")

_MODULUS, _LEVELS, _CLIP, _WEIGHT = 1 << 32, 1 << 22, 8.0, 1000


@dataclass(frozen=True)
class PeerCost:
    """CPU seconds of one client and of unmasking, and one client's bytes upward.

    ``scaled``: from one client and one secret of each kind, times their numbers.
    """

    client_s: float
    server_s: float
    bytes_up: int
    scaled: bool


@dataclass(frozen=True)
class _Sample:
    """What one piece of work costs, CPU seconds."""

    client: float
    open_seed: float
    open_key: float
    agree: float
    remove: float
    bytes_up: int

    def server(self, clients: int, dropped: int) -> float:
        """Unmasking when ``dropped`` clients did not upload."""
        live = clients - dropped
        seeds = live * (self.open_seed + self.remove)
        keys = dropped * (self.open_key + live * (self.agree + self.remove))
        return seeds + keys


def measure(
    clients: int,
    coordinates: int,
    threshold: int,
    dropped: Sequence[int],
    *,
    most_s: float = 60.0,
) -> dict[int, PeerCost]:
    """One round for each number of clients lost after sharing, on the complete graph.

    The clients' work is the same whoever drops out later; it is done once. Their own
    quantisation is taken off, as ours is not part of the protocol's time either.

    Args:
        clients: Size n of the cohort.
        coordinates: Length of the vector.
        threshold: Shares that open a secret.
        dropped: Numbers of clients that share but do not upload.
        most_s: A cell predicted to take longer is scaled up from one client.

    Raises:
        IntegrityError: A sum came out wrong.
    """
    vector = np.random.default_rng(1).normal(0, 0.01, coordinates)  # public, no secret
    vector = vector.astype(np.float32)
    sample = _sample(_dealt(clients, threshold, clients - max(dropped)), vector)
    found = {
        lost: PeerCost(
            sample.client, sample.server(clients, lost), sample.bytes_up, True
        )
        for lost in dropped
    }
    whole = {
        lost: clients * cost.client_s + cost.server_s for lost, cost in found.items()
    }
    short = [lost for lost, seconds in whole.items() if seconds <= most_s]
    return found | _in_full(clients, threshold, vector, short)


def _advertised(clients: int, threshold: int) -> tuple[list[Any], dict[int, Any]]:
    """Every client's state after set-up, and all public keys."""
    configs = {
        Key.SAMPLE_NUMBER: clients,
        Key.SHARE_NUMBER: clients,
        Key.THRESHOLD: threshold,
        Key.CLIPPING_RANGE: _CLIP,
        Key.TARGET_RANGE: _LEVELS,
        Key.MOD_RANGE: _MODULUS,
        Key.MAX_WEIGHT: float(_WEIGHT),
    }
    states, keys = [], {}
    for number in range(1, clients + 1):
        state = _mod.SecAggPlusState(nid=number)
        reply = _mod._setup(state, dict(configs))
        keys[number] = [reply[Key.PUBLIC_KEY_1], reply[Key.PUBLIC_KEY_2]]
        states.append(state)
    return states, keys


@dataclass(frozen=True, repr=False)
class _Dealt:
    """One client that has dealt its shares, its inbox, and what opening them costs."""

    first: Any
    inbox: Any
    client: float
    open_seed: float
    open_key: float
    agree: float
    bytes_up: int


@lru_cache(maxsize=1)
def _dealt(clients: int, threshold: int, shares: int) -> _Dealt:
    """The first client up to its mask; the same for vectors of every length.

    Flower's server combines all shares it gets, not only as many as it needs; here
    ``shares``, the fewest that it gets in one of the cells.
    """
    states, keys = _advertised(clients, threshold)
    first, others = states[0], states[1:]
    setup = _timed(lambda: _advertised(1, 1))[0]
    share_s, dealt = _timed(lambda: _mod._share_keys(first, _named(keys)))
    ciphertexts = dict(
        zip(dealt[Key.DESTINATION_LIST], dealt[Key.CIPHERTEXT_LIST], strict=True)
    )
    inbox, seeds, private = _echo(first, others, ciphertexts)
    return _Dealt(
        first,
        inbox,
        setup + share_s,
        _timed(lambda: combine_shares(seeds[:shares]))[0],
        _timed(lambda: combine_shares(private[:shares]))[0],
        _timed(lambda: _pair(first.sk1, keys[others[0].nid][0]))[0],
        _size(keys[first.nid], ciphertexts.values(), seeds),
    )


def _sample(dealt: _Dealt, vector: Any) -> _Sample:
    """The first client's work, and one piece of each kind of the server's."""
    shape = [(vector.size,)]
    mask_s, masked = _timed(lambda: _collect(dealt.first, dealt.inbox, vector))
    seed = dealt.first.rd_seed
    expand, mask = _timed(lambda: pseudo_rand_gen(seed, _MODULUS, shape))
    subtract = _timed(lambda: arithmetic.parameters_subtraction(mask, mask))[0]
    return _Sample(
        dealt.client + mask_s - _encoding_s(vector),
        dealt.open_seed,
        dealt.open_key,
        dealt.agree,
        expand + subtract,
        dealt.bytes_up + _size(masked),
    )


def _echo(
    first: Any, others: list[Any], ciphertexts: Mapping[int, bytes]
) -> tuple[Any, list[bytes], list[bytes]]:
    """What the others would send to the first client, and its own shares.

    They get back what they were sent: the same form, so the same cost to open.
    """
    seeds, private, received = [], [], []
    for other in others:
        pair = first.ss2_dict[other.nid]
        plain = decrypt(pair, ciphertexts[other.nid])
        _, _, seed, key = share_keys_plaintext_separate(plain)
        seeds.append(seed)
        private.append(key)
        sent = share_keys_plaintext_concat(other.nid, first.nid, seed, key)
        received.append(encrypt(pair, sent))
    sources = [other.nid for other in others]
    inbox = {Key.CIPHERTEXT_LIST: received, Key.SOURCE_LIST: sources}
    return inbox, seeds, private


def _in_full(
    clients: int, threshold: int, vector: Any, dropped: Sequence[int]
) -> dict[int, PeerCost]:
    """Every client's work once, then the server's for each number of lost clients."""
    if not dropped:
        return {}
    spent, (states, keys, inboxes) = _shared(clients, threshold)
    total: Any = None
    last: dict[int, Any] = {}  # of those who drop out in one of the cells
    for state in states:
        seconds, masked = _timed(partial(_collect, state, inboxes[state.nid], vector))
        spent += seconds
        arrays = [bytes_to_ndarray(data) for data in masked]
        total = arithmetic.parameters_addition(total, arrays) if total else arrays
        if state.nid > clients - max(dropped):
            last[state.nid] = arrays
    client_s = spent / clients - _encoding_s(vector)
    found = {}
    for lost in dropped:
        live = total
        for number in range(clients - lost + 1, clients + 1):
            live = arithmetic.parameters_subtraction(live, last[number])
        seconds, size = _unmask(states, keys, live, lost, vector)
        up = _size(keys[1], inboxes[1][Key.CIPHERTEXT_LIST], masked) + size
        found[lost] = PeerCost(client_s, seconds, up, False)
    return found


@lru_cache(maxsize=1)
def _shared(clients: int, threshold: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Seconds of all clients until they have dealt; states, public keys, inboxes."""
    start = process_time()
    states, keys = _advertised(clients, threshold)
    inboxes: dict[int, Any] = {
        state.nid: {Key.CIPHERTEXT_LIST: [], Key.SOURCE_LIST: []} for state in states
    }
    for state in states:
        dealt = _mod._share_keys(state, _named(keys))
        for to, ciphertext in zip(
            dealt[Key.DESTINATION_LIST], dealt[Key.CIPHERTEXT_LIST], strict=True
        ):
            inboxes[to][Key.CIPHERTEXT_LIST].append(ciphertext)
            inboxes[to][Key.SOURCE_LIST].append(state.nid)
    return process_time() - start, (states, keys, inboxes)


def _unmask(
    states: list[Any], keys: dict[int, Any], total: Any, lost: int, vector: Any
) -> tuple[float, int]:
    """Seconds of the server's unmasking, and bytes of one client's shares for it."""
    live = [state.nid for state in states[: len(states) - lost]]
    dead = [state.nid for state in states[len(states) - lost :]]
    lists = {Key.ACTIVE_NODE_ID_LIST: live, Key.DEAD_NODE_ID_LIST: dead}
    held: dict[int, list[bytes]] = {state.nid: [] for state in states}
    size = 0
    for state in states[: len(live)]:
        reply = _mod._unmask(state, lists)
        size = _size(reply[Key.SHARE_LIST])
        for number, share in zip(
            reply[Key.NODE_ID_LIST], reply[Key.SHARE_LIST], strict=True
        ):
            held[number].append(share)
    seconds, opened = _timed(lambda: _removed(total, held, set(live), keys))
    factor, parts = arithmetic.factor_extract(opened)
    mean = parts[0] * (2 * _CLIP / _LEVELS) - _CLIP * len(live)
    mean *= _LEVELS / factor
    error = float(np.abs(mean - vector).max())
    if error > 1e-4:
        raise IntegrityError(f"SecAgg+: the mean is off by {error}, must be <= 1e-4")
    return seconds, size


def _removed(
    total: Any, held: Mapping[int, Sequence[bytes]], live: set[int], keys: Any
) -> Any:
    """The sum without masks: the steps of Flower's own workflow."""
    shapes = arithmetic.get_parameters_shape(total)
    for number, shares in held.items():
        secret = combine_shares(list(shares))
        if number in live:
            mask = pseudo_rand_gen(secret, _MODULUS, shapes)
            total = arithmetic.parameters_subtraction(total, mask)
            continue
        for other in live:
            pair = _pair(secret, keys[other][0])
            mask = pseudo_rand_gen(pair, _MODULUS, shapes)
            remove = (
                arithmetic.parameters_addition
                if number > other
                else arithmetic.parameters_subtraction
            )
            total = remove(total, mask)
    return arithmetic.parameters_mod(total, _MODULUS)


def _collect(state: Any, inbox: Any, vector: Any) -> Any:
    reply = _mod._collect_masked_vectors(
        state, inbox, _WEIGHT, ndarrays_to_parameters([vector])
    )
    return reply[Key.MASKED_PARAMETERS]


def _encoding_s(vector: Any) -> float:
    """Scaling and quantising, which Flower does in the same call as masking."""
    scale = arithmetic.parameters_multiply
    return _timed(lambda: quantize(scale([vector], 1.0), _CLIP, _LEVELS))[0]


def _size(*parts: Iterable[bytes]) -> int:
    """Bytes of everything in these lists, without any framing."""
    return sum(len(piece) for part in parts for piece in part)


def _pair(private: bytes, public: bytes) -> bytes:
    key: bytes = generate_shared_key(
        bytes_to_private_key(private), bytes_to_public_key(public)
    )
    return key


def _named(keys: Mapping[int, Any]) -> dict[str, Any]:
    return {str(number): pair for number, pair in keys.items()}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = process_time()
    result = call()
    return process_time() - start, result
