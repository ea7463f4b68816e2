"""Whether a request may come from a web page of somebody else: pages that a developer has open reach this machine, too.

A browser sends to a loopback address whatever page asks it to. Where no key is needed, three things tell such a request: a
``Host`` that is none of ours (a name of the page's own that was pointed here: DNS rebinding), an ``Origin`` or ``Sec-Fetch-Site``
that is none of ours, and one of the few content types that a page may send elsewhere without asking first.

References
----------
W3C, Fetch Metadata Request Headers; WHATWG, Fetch Standard: CORS-safelisted request headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Any

from service.errors import ForbiddenError, UnsupportedTypeError
from service.ports import is_loopback

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OF_A_BROWSER = (
    "HTTP_ORIGIN",
    *(f"HTTP_SEC_FETCH_{name}" for name in ("SITE", "MODE", "DEST", "USER", "STORAGE_ACCESS")),
)
_PORTS = {"http": ":80", "https": ":443"}
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/]+))(?::\d*)?", re.ASCII)
_MOST_REMEMBERED = 64


class ForeignPages:
    """Refuses what comes from a page of somebody else.

    Parameters
    ----------
    hosts
        The names by which this machine may be asked beside ``localhost`` and the loopback addresses; a port is ignored.

    Examples
    --------
    >>> pages = ForeignPages(["evergreen.test"])
    >>> pages.check({"REQUEST_METHOD": "POST", "HTTP_HOST": "localhost:8000", "HTTP_ORIGIN": "http://localhost:8000"})
    >>> pages.check({"REQUEST_METHOD": "GET", "HTTP_HOST": "evil.example"})
    Traceback (most recent call last):
    service.errors.ForbiddenError: ...
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._names = frozenset(_name_in(host) for host in hosts)
        self._known: dict[str, bool] = {}

    def check(self, environ: Mapping[str, Any]) -> None:
        """Let a request pass, by its environment (PEP 3333), or refuse it.

        Raises
        ------
        ForbiddenError
            It is sent to a name that is not this machine's, or by a page from elsewhere that wants more than to read.
        UnsupportedTypeError
            A browser sends it with a content type for which it asks nobody.
        """
        host = environ.get("HTTP_HOST")
        if host is not None and not self._is_ours(host):  # without one it is none of a browser
            raise ForbiddenError(
                f"Host {host[:80]!r} is not this machine: without keys only localhost, loopback addresses and the names in "
                "EVERGREEN_HOSTS are answered"
            )
        if not environ.keys().isdisjoint(_OF_A_BROWSER) and environ["REQUEST_METHOD"] not in _SAFE_METHODS:
            _check_browser(environ)

    def _is_ours(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            name = _name_in(host)
            known = name != "" and (name in self._names or is_loopback(name))
            if len(self._known) < _MOST_REMEMBERED:
                self._known[host] = known
        return known


def environ_of(method: str, headers: Mapping[str, str] | Message) -> dict[str, str]:
    """Return what `ForeignPages.check` looks at, for a server that knows no environments.

    Examples
    --------
    >>> environ_of("GET", {"Host": "localhost"})
    {'REQUEST_METHOD': 'GET', 'HTTP_HOST': 'localhost'}
    """
    names = ("HTTP_HOST", *_OF_A_BROWSER, "CONTENT_TYPE")
    sent = {name: headers.get(name.removeprefix("HTTP_").replace("_", "-").title()) for name in names}
    return {"REQUEST_METHOD": method, **{name: text for name, text in sent.items() if text is not None}}


def _check_browser(environ: Mapping[str, Any]) -> None:
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
    if origin is not None and not _is_same(origin, environ.get("HTTP_HOST", "")):
        raise ForbiddenError(f"a page from {origin[:80]!r} may not use this service without a key: its own pages may")
    if site is not None and site.strip().lower() not in ("same-origin", "none"):
        raise ForbiddenError(f"a {site[:40]!r} page may not use this service without a key: its own pages may")
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind in ("text/plain", "application/x-www-form-urlencoded") or kind.startswith("multipart/"):
        raise UnsupportedTypeError(f"a browser may not send {kind[:80]} here: send application/json")


def _is_same(origin: str, host: str) -> bool:
    """Return whether the page at an origin is one that this host sent: scheme aside, and with or without a usual port.

    Examples
    --------
    >>> _is_same("http://localhost:8000", "localhost:8000"), _is_same("https://Lab.Test", "lab.test:443")
    (True, True)
    >>> _is_same("http://localhost:3000", "localhost:8000"), _is_same("null", "localhost:8000"), _is_same("", "")
    (False, False, False)
    """
    scheme, _, rest = origin.strip().lower().partition("://")
    port = _PORTS.get(scheme)
    return port is not None and rest != "" and rest.removesuffix(port) == host.strip().lower().removesuffix(port)


def _name_in(host: str) -> str:
    """Return the name or address of a ``Host``, without its port; nothing when it is none.

    Examples
    --------
    >>> _name_in("LocalHost:8000"), _name_in("[::1]:8000"), _name_in("[::1]"), _name_in("::1")
    ('localhost', '::1', '::1', '')
    """
    match = _HOST.fullmatch(host.strip().lower())
    return "" if match is None else match[1] or match[2]
