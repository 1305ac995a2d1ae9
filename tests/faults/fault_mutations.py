"""The protocol, broken on purpose: each must be found.

A mutation is a list of edits of functions: module, function, a piece of its source, and
what to put there. The function gets the code of the changed source.
"""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import CodeType, FunctionType

CLIENT, SERVER = "fedpref.secagg.client", "fedpref.secagg.server"
DEVICE, GATHERING = "fedpref.core.device", "fedpref.secagg.gathering"
REFUNDS, ADMISSION = "fedpref.secagg.refunds", "fedpref.secagg.admission"
SECURE, LEGS = "fedpref.rounds.secure", "fedpref.secagg.legs"

_NO_MEMORY = (
    CLIENT,
    "answer",
    "if session is not None and rid == session.rid and kind in session.replies:",
    "if session is not None and rid == session.rid and kind in session.replies "
    "and kind is not Kind.{}:",
)
_ANY_NUMBER_OF = (DEVICE, "_once", "found is not None and found != wanted", "False")


def _forgets(kind: str) -> tuple[str, str, str, str]:
    *where, new = _NO_MEMORY
    return (*where, new.format(kind))


MUTATIONS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "fresh noise on a request sent again": (_forgets("DELIVERY"), _ANY_NUMBER_OF),
    "fresh keys on a request sent again": (
        _forgets("DESCRIPTOR"),
        (ADMISSION, "admit", "descriptor.round <= state", "descriptor.round < state"),
        (DEVICE, "reserve", "number <= book.last", "number < book.last"),
    ),
    "a tombstone after the shares": (
        (CLIENT, "_closed", "or last.release is not None", ""),
        (DEVICE, "bury", "entry.release is not None", "False"),
    ),
    "shares after a tombstone": (
        (CLIENT, "_closed", "replace(state, session=None)", "state"),
        (DEVICE, "release", "if entry.buried:", "if False:"),
    ),
    "saved after the reply": (
        (
            *(CLIENT, "answer", "around.save(after)  # before the reply leaves"),
            "globals().setdefault('_later', []).append(lambda: around.save(after))",
        ),
    ),
    "the signature of leg 3 is forgotten in a crash": (
        _forgets("SURVIVORS"),
        (
            *(CLIENT, "answer", "around.save(after)  # before"),
            "kind is Kind.SURVIVORS or around.save(after)  # before",
        ),
    ),
    "a second list is signed": (_forgets("SURVIVORS"), _ANY_NUMBER_OF),
    "a refund on silence": (
        (
            *(CLIENT, "_closed", "book=device.bury(state.book, last.rid)"),
            "book=device.refund(state.book, last.rid, device.Evidence.TOMBSTONES) "
            "if last.upload else device.bury(state.book, last.rid)",
        ),
    ),
    "a refund by too few tombstones": (
        (REFUNDS, "_check_tombstones", "terms.threshold + 1", "terms.threshold - 1"),
    ),
    "a refund to a survivor": (
        (REFUNDS, "refunded", "member.id in agreements.view.survivors", "False"),
        (REFUNDS, "_check_without_me", "valid < wanted", "False"),
    ),
    "an upload is added twice": ((GATHERING, "collect", "or who in found", ""),),
    "an upload of an earlier round is accepted": (
        (LEGS, "decode_upload", "Kind.UPLOAD, rid", "Kind.UPLOAD"),
        (SERVER, "uploaded", "upload.dealers != dealers", "False"),
        (
            SERVER,
            "uploaded",
            "content = rid + upload",
            "content = reply[4:36] + upload",
        ),
    ),
    "shares of the other kind": (
        (CLIENT, "_reveal", "0 if dealer in survivors else 1", "1"),
    ),
    "opened below the floor": (
        (GATHERING, "enough", "count < state.terms.min_survivors", "False"),
        (CLIENT, "_agree", "len(survivors) < session.terms.min_survivors", "False"),
    ),
    "charged after it is opened": (
        (
            *(SECURE, "secure", "            journal.charge(number, digest)\n"),
            "",
        ),
        (
            *(SECURE, "secure", "        journal.hold("),
            "        journal.charge(number, digest)\n        journal.hold(",
        ),
    ),
    "a charged round is asked for anew": (
        (SECURE, "secure", "journal.kept(number)", "None"),
    ),
    "sent before it is spent": (
        (DEVICE, "spend", "replace(entry, upload=upload)", "entry"),
    ),
}


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """The mutation, for as long as the block lasts; none for None."""
    texts: dict[FunctionType, str] = {}
    for module, function, old, new in MUTATIONS[name] if name else ():
        target = getattr(import_module(module), function)
        text = texts.get(target) or inspect.getsource(target)
        if text.count(old) != 1:
            raise ValueError(f"{module}.{function}: {text.count(old)} times {old!r}")
        texts[target] = text.replace(old, new)
    with ExitStack() as undo:
        for target, text in texts.items():
            undo.callback(setattr, target, "__code__", target.__code__)
            target.__code__ = _compiled(text, target)
        yield


def _compiled(text: str, target: FunctionType) -> CodeType:
    """The code of the function in ``text``; its annotations are not looked at."""
    module = compile(text, target.__code__.co_filename, "exec")
    return next(c for c in module.co_consts if isinstance(c, CodeType))
