"""Downloads one file of a known size.

Guarantees: no more than ``size_bytes`` is written, redirects are refused, and a server
that goes quiet or drips is given up after ``stall_s`` without a byte or ``total_s`` in
all. Proxies and certificates are those of the user's own settings.

Does not give: trust in the file; the caller compares its SHA-256. A server that drips
its headers is only bounded by ``stall_s`` a byte and the limits of ``http.client``.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast

from fedpref.errors import IntegrityError, SetupError

CHUNK = 1 << 16
STALL_S, TOTAL_S = 30.0, 600.0
AGAIN = "check the network and try again"


def download(
    url: str,
    path: Path,
    *,
    size_bytes: int,
    watch: Callable[[int], None],
    stall_s: float = STALL_S,
    total_s: float = TOTAL_S,
) -> None:
    """Write what lies at ``url`` to the new file ``path``.

    Args:
        size_bytes: the size it must have.
        watch: called with the bytes so far.
        stall_s: longest wait for the next bytes, in seconds.
        total_s: longest time for the body, in seconds.

    Raises:
        IntegrityError: it has another size.
        SetupError: it could not be had.
    """
    deadline = time.monotonic() + total_s
    try:
        with _opener().open(url, timeout=stall_s) as reply, path.open("xb") as out:
            done = 0
            while chunk := cast(HTTPResponse, reply).read1(CHUNK):
                done += len(chunk)
                if done > size_bytes:
                    raise IntegrityError(
                        f"{url}: more than the pinned {size_bytes} bytes; nothing was "
                        "kept"
                    )
                if time.monotonic() > deadline:
                    raise SetupError(
                        f"{url}: bytes = {done} of {size_bytes} after {total_s:g} s; "
                        f"{AGAIN}"
                    )
                out.write(chunk)
                watch(done)
    except urllib.error.HTTPError as error:
        with error:
            raise SetupError(_answered(url, error.code)) from None
    except TimeoutError:
        raise SetupError(f"{url}: no byte for {stall_s:g} s; {AGAIN}") from None
    except (urllib.error.URLError, HTTPException, ConnectionError) as error:
        raise SetupError(f"{url}: {_reason(error)}; {AGAIN}") from None
    if done != size_bytes:
        raise SetupError(
            f"{url}: bytes = {done}, must be {size_bytes}; the download broke off; "
            f"{AGAIN}"
        )


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone: no redirects, no local files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _answered(url: str, code: int) -> str:
    if 300 <= code < 400:
        return f"{url}: status = {code}: redirects are not followed; {AGAIN} later"
    return f"{url}: status = {code}, must be 200; {AGAIN} later"


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "no connection in time"
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
