"""What must never happen, checked as it happens, from outside of both state machines.

The watch sees every byte that leaves and every state that is saved. It keeps its own
account of contributions, so that its sums owe nothing to the code under test.
"""

from collections import Counter
from hashlib import sha256

import numpy as np

from fedpref.core import commitments
from fedpref.core.mask import unpack
from fedpref.secagg import legs, wire
from fedpref.secagg.legs import NO_TOMBSTONE
from fedpref.secagg.wire import HASH, Kind

VIOLATIONS = (
    "wrong sum",
    "double count",
    "fresh noise for a request that was answered",
    "two replies to one kind of request",
    "two lists signed",
    "left before it was durable",
    "forgotten after a crash",
    "below the floor",
    "both kinds of share",
    "two lists opened",
    "shares asked for before the charge",
    "tombstone and release",
    "two outputs of one round",
    "released and not spent",
    "refunded, and could be in a sum",
    "the server refunded a round that was opened",
    "a device's book went back",
    "the model is not the sum of the releases",
    "an error that is not ours",
    "not finished",
)

AGAIN = {
    None: "two replies to one kind of request",
    Kind.AGREEMENT: "two lists signed",
    Kind.UPLOAD: "fresh noise for a request that was answered",
}


def rid_of(message: bytes) -> bytes:
    return message[4 : wire.HEADER.size]


class Watch:
    """One case: what left, what was saved, what came out."""

    def __init__(self, terms, coordinates: int):
        self.terms, self.coordinates = terms, coordinates
        self.found: Counter = Counter()
        self.notes: list[str] = []
        self.ledger = None
        self.machines: dict = {}
        self.contributed: dict = {}  # (device, rid) -> vectors
        self.left: dict = {}  # (device, rid, kind) -> bytes of the reply
        self.said: dict = {}  # the same -> what the device's book must have of it
        self.dealt: dict = {}  # (dealer, rid) -> digests of both kinds of shares
        self.buried: set = set()  # (device, rid) of tombstones that left
        self.views: dict = {}  # (device, rid) -> the list it signed, its digest
        self.shown: dict = {}  # (rid, dealer) -> kinds of its shares that left
        self.revealed: dict = {}  # rid -> the list that shares were handed out for
        self.asked: dict = {}  # rid -> AGREEMENTS
        self.charges: dict = {}  # digest -> rid
        self.cohorts: dict = {}  # rid -> cohort
        self.outputs: dict = {}  # digest -> (sum, survivors)
        self.releases: dict = {}  # round -> digest

    def violation(self, name: str, note: str = "") -> None:
        assert name in VIOLATIONS
        self.found[name] += 1
        self.notes.append(f"{name}: {note}")

    # What the server sends and writes

    def sent(self, request: bytes, cohort) -> None:
        """A request is about to leave the server."""
        kind, rid = wire.kind_of(request), rid_of(request)
        if kind is Kind.DESCRIPTOR:
            self.cohorts.setdefault(rid, set(cohort))
        if kind is Kind.AGREEMENTS:
            if rid not in self.asked:
                self._charged(request, rid)
            if self.asked.setdefault(rid, request) != request:
                self.violation("two lists opened", "AGREEMENTS changed")

    def _charged(self, request: bytes, rid: bytes) -> None:
        """The ledger has the digest that these uploads and this list come to."""
        view = legs.decode_agreements(request, rid).view
        total = np.zeros(self.coordinates, np.uint32)
        size = self.coordinates * self.terms.word_bits // 8
        for who in view.survivors:
            reply = self.left.get((who, rid, Kind.UPLOAD))
            if reply is None:
                return self.violation("wrong sum", f"device {who} never uploaded")
            upload = legs.decode_upload(reply, rid, size=size)
            total += unpack(upload.words, self.terms.word_bits, self.coordinates)
        content = rid + view.content + total.astype("<u4").tobytes()
        digest = sha256(content).hexdigest()
        self.charges[digest] = rid
        if digest not in self.ledger.charged:
            self.violation("shares asked for before the charge")
        if len(view.survivors) < self.terms.min_survivors:
            self.violation("below the floor", f"{len(view.survivors)} in the list")

    def opened(self, noisy, digest: str) -> None:
        """The server has taken the masks off."""
        rid = self.charges.get(digest)
        if rid is None:
            return self.violation("wrong sum", "opened what was not charged")
        view = legs.decode_agreements(self.asked[rid], rid).view
        output = noisy.total.tolist(), noisy.survivors
        if self.outputs.setdefault(digest, output) != output:
            self.violation("two outputs of one round")
        contributions = []
        for who in view.survivors:
            made = self.contributed.get((who, rid), [])
            contributions.append(made[-1] if made else np.zeros(self.coordinates))
        if not np.array_equal(noisy.total, np.sum(contributions, axis=0)):
            self.violation("wrong sum", f"{noisy.total.tolist()}")
        hot = noisy.total[: len(self.machines)]
        number = max(hot.max(), 1)
        if set(hot.tolist()) > {0, number} or (hot > 0).sum() != noisy.survivors:
            self.violation("double count", f"{hot.tolist()} of {noisy.survivors}")
        if noisy.survivors < self.terms.min_survivors:
            self.violation("below the floor", f"{noisy.survivors} summed")

    def released(self, number: int, digest: str) -> None:
        """The ledger says that a round has been released."""
        if self.releases.setdefault(number, digest) != digest:
            self.violation("two outputs of one round")
        self._spent(digest)

    def _spent(self, digest: str) -> None:
        rid = self.charges.get(digest)
        if rid is None or digest not in self.outputs:
            return self.violation("wrong sum", "released what was not opened")
        for who in legs.decode_agreements(self.asked[rid], rid).view.survivors:
            entry = self._entry(who, rid)
            if entry is None or not entry.counts:
                self.violation("released and not spent", f"device {who}")

    # What a device sends and writes

    def made(self, who: int, rid: bytes, vector) -> None:
        """A device has been asked for its contribution."""
        if (who, rid, Kind.UPLOAD) in self.left:
            self.violation("fresh noise for a request that was answered")
        self.contributed.setdefault((who, rid), []).append(vector)

    def leaves(self, who: int, reply: bytes) -> None:
        """A reply is about to leave a device."""
        if not reply:
            return  # a certificate is acknowledged
        kind, rid = wire.kind_of(reply), rid_of(reply)
        if self.left.setdefault((who, rid, kind), reply) != reply:
            self.violation(AGAIN.get(kind, AGAIN[None]), f"device {who}, {kind.name}")
        elif (who, rid, kind) not in self.said:
            self.said[who, rid, kind] = self._says(who, reply)
        if kind is Kind.ADVERT:
            self.gave_up(who, legs.decode_advert(reply, rid).tombstone)
        if kind is Kind.REVEAL:
            self._revealed(who, rid)
        self._durable(who, rid, kind, "left before it was durable")

    def gave_up(self, who: int, tombstone: bytes) -> None:
        """A device has promised to release nothing in a round."""
        rid = tombstone[:HASH]
        if tombstone != NO_TOMBSTONE:
            self.buried.add((who, rid))
            entry = self._entry(who, rid)
            if entry is None or not entry.buried:
                self.violation("left before it was durable", f"device {who}: tombstone")
            if (who, rid, Kind.REVEAL) in self.left:
                self.violation("tombstone and release", f"device {who}")

    def _says(self, who: int, reply: bytes) -> tuple[str, bytes] | None:
        """What the device's book must have of this reply: a field and its digest."""
        kind, rid = wire.kind_of(reply), rid_of(reply)
        if kind is Kind.SHARES:
            digests = legs.decode_dealing(reply, rid).digests
            self.dealt[who, rid] = tuple(map(set, zip(*digests, strict=True)))
        if kind is Kind.UPLOAD:
            size = self.coordinates * self.terms.word_bits // 8
            upload = legs.decode_upload(reply, rid, size=size)
            content = rid + upload.content + upload.signature
            return "upload", sha256(content).digest()
        if kind is Kind.AGREEMENT:
            return "view", self.views.get((who, rid), ((), b""))[1]
        if kind is Kind.REVEAL:
            return "release", sha256(legs.decode_reveal(reply, rid).content).digest()
        return None

    def _durable(self, who: int, rid: bytes, kind: Kind, name: str) -> None:
        """The device's durable book has what this reply says."""
        entry, said = self._entry(who, rid), self.said[who, rid, kind]
        if entry is None or (said and getattr(entry, said[0]) != said[1]):
            self.violation(name, f"device {who}, {kind.name}")

    def _revealed(self, who: int, rid: bytes) -> None:
        """A device hands out shares: once, of one kind, for one list, after the charge.

        Two different replies were found above; one reply has a dealer once.
        """
        if (who, rid) in self.buried:
            self.violation("tombstone and release", f"device {who}")
        if rid not in self.asked:
            self.violation("shares asked for before the charge", f"device {who}")
        view = self.views.get((who, rid), ((), b""))
        if self.revealed.setdefault(rid, view) != view:
            self.violation("two lists opened", f"device {who}")
        survivors = set(view[0])
        if len(survivors) < self.terms.min_survivors:
            self.violation("below the floor", f"{len(survivors)} in the list")
        reply = self.left[who, rid, Kind.REVEAL]
        for dealer, share in legs.decode_reveal(reply, rid).shares:
            self._shown(who, rid, dealer, share, wanted=0 if dealer in survivors else 1)

    def _shown(self, who: int, rid: bytes, dealer: int, share: bytes, wanted: int):
        """By the dealer's commitments: of nobody are both kinds ever seen."""
        kinds = [
            kind
            for kind, digests in enumerate(self.dealt[dealer, rid])
            if commitments.digest(rid, dealer, who, kind, share) in digests
        ]
        self.shown.setdefault((rid, dealer), set()).update(kinds)
        if kinds != [wanted] or len(self.shown[rid, dealer]) > 1:
            self.violation("both kinds of share", f"device {who} of {dealer}")

    def saved(self, who: int, before, after) -> None:
        """A device's state has become durable."""
        book = {entry.rid: entry for entry in after.book.rounds}
        numbers = [entry.number for entry in after.book.rounds]
        if numbers != sorted(set(numbers)) or len(book) != len(numbers):
            self.violation("a device's book went back", f"{numbers}")
        for old in before.book.rounds:
            new = book.get(old.rid)
            if new is None or not _extends(old, new):
                self.violation("a device's book went back", f"device {who}")
        for entry in book.values():
            if entry.buried and entry.release is not None:
                self.violation("tombstone and release", f"device {who}")
        session = after.session
        if session is not None and session.view is not None:
            view = session.view
            digest = sha256(view.content).digest()
            self.views[who, session.rid] = view.survivors, digest
        if after.book != before.book:
            for entry in book.values():
                if entry.refund is not None:
                    self._cannot_be_opened(who, entry.rid)

    def restarted(self, who: int) -> None:
        """A device has come back with its durable state."""
        for other, rid, kind in self.said:
            if other == who:
                self._durable(who, rid, kind, "forgotten after a crash")

    def _cannot_be_opened(self, who: int, rid: bytes) -> None:
        """Fewer than t devices, less the colluders, can open a list with it in."""
        could = 0
        for other in self.cohorts.get(rid, ()):
            entry = self._entry(other, rid)
            signed = self.views.get((other, rid))
            if entry is not None and entry.buried:
                continue
            could += signed is None or who in signed[0]
        if could + self.terms.colluders >= self.terms.threshold:
            self.violation(
                "refunded, and could be in a sum", f"device {who}, {could} could"
            )

    def _entry(self, who: int, rid: bytes):
        for entry in reversed(self.machines[who].durable.book.rounds):
            if entry.rid == rid:
                return entry
        return None

    # The end

    def ended(self, model) -> None:
        """Everything has arrived that ever will."""
        for digest in self.releases.values():
            self._spent(digest)
        for who in self.machines:
            self.restarted(who)
            for entry in self.machines[who].durable.book.rounds:
                if entry.refund is not None:
                    self._cannot_be_opened(who, entry.rid)
        charged = {self.charges.get(digest) for digest in self.ledger.charged}
        if not self.revealed.keys() <= charged:
            self.violation("the server refunded a round that was opened")
        sums = [self.outputs[d][0] for d in self.releases.values() if d in self.outputs]
        if model is not None and not np.array_equal(model, -np.sum(sums, axis=0)):
            self.violation("the model is not the sum of the releases")


def _extends(old, new) -> bool:
    """Nothing that a round has come to is taken back."""
    same = (old.number == new.number) and (new.buried or not old.buried)
    for name in ("upload", "view", "release", "refund"):
        before = getattr(old, name)
        same = same and (before is None or before == getattr(new, name))
    return same
