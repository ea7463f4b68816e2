"""A small HTTP client of the service: keep-alive, retries only what was refused or never sent."""

from __future__ import annotations

import http.client
import ipaddress
import time
from typing import Any
from urllib.parse import urlsplit

import orjson

from monitoring.errors import InputError, ReplayError

IDLE_SECONDS = 0.5  # a connection that idled longer is made anew: the server may be closing it
RETRY_SECONDS = 0.1
TIMEOUT_SECONDS = 60.0


class Client:
    """Speak to one service over one connection at a time.

    Parameters
    ----------
    url
        Such as ``http://127.0.0.1:8000``.
    key
        An API key with the scopes predict, label and read; None on loopback.

    Raises
    ------
    InputError
        The address is none of a service.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._host, self._port = _address(url)
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0

    def post(self, path: str, body: dict[str, Any], wait_seconds: float) -> dict[str, Any]:
        """POST a JSON body; a 503 is tried again until `wait_seconds` have passed.

        Raises
        ------
        ReplayError
            With the service's own words.
        """
        content = orjson.dumps(body)
        deadline = time.monotonic() + wait_seconds
        while True:
            status, text = self._send("POST", path, content)
            if status == 200:
                return dict(orjson.loads(text))
            if status != 503 or time.monotonic() > deadline:
                raise self._refused("POST", path, status, text)
            time.sleep(RETRY_SECONDS)

    def followed_move(self, model: str) -> int:
        """Return the move of the champion alias that every worker has followed; -1 while one serves none or an older note.

        Raises
        ------
        ReplayError
            With the service's own words, unless they are that it is busy.
        """
        status, text = self._send("GET", "/metrics", None)
        if status not in (200, 503):
            raise self._refused("GET", "/metrics", status, text)
        name = f'evergreen_model_move{{model="{model}"}} '
        return next((int(float(line.removeprefix(name))) for line in text.decode().splitlines() if line.startswith(name)), -1)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _refused(self, method: str, path: str, status: int, text: bytes) -> ReplayError:
        return ReplayError(f"{method} {path} at {self.url} answered {status}: {text[:500].decode('utf-8', 'replace')}")

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
        connection = self._connection or self._connect()
        try:
            connection.request(method, path, content, self._headers)
            response = connection.getresponse()
            status, text = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
                raise ReplayError(f"what listens at {self.url} is no Evergreen: it answers {method} {path} with no HTTP") from error
            why = f"the connection broke ({error!r}); whether it was done is not known, the service's log may say why"
            raise ReplayError(f"{method} {path} at {self.url}: {why}") from error
        finally:
            self._used = time.monotonic()
        if response.will_close:
            self.close()
        return status, text

    def _connect(self) -> http.client.HTTPConnection:
        """Connect; where that fails nothing was sent."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no look-up takes
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            advice = "start one with `evergreen up`, or say where one runs with --url or EVERGREEN_BIND"
            raise ReplayError(f"no service answers at {self.url} ({reason}): {advice}") from error
        self._connection = connection
        return connection


def url_of(bind: str) -> str:
    """Return where a service that listens on `bind` (host:port) is reached from its own machine.

    Examples
    --------
    >>> url_of("127.0.0.1:9000"), url_of("0.0.0.0:8000"), url_of("[::]:8000"), url_of("localhost:8000")
    ('http://127.0.0.1:9000', 'http://127.0.0.1:8000', 'http://[::1]:8000', 'http://localhost:8000')
    """
    host, _, port = bind.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"http://{bind}"
    loopback = "127.0.0.1" if address.version == 4 else "[::1]"
    return f"http://{loopback if address.is_unspecified else host}:{port}"


def _address(url: str) -> tuple[str, int]:
    """Return host and port of an address such as ``http://127.0.0.1:8000``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:  # no port, or half an IPv6 address
        host, port, parts = None, 0, urlsplit("")
    if parts.scheme != "http" or host is None or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InputError(f"the address of the service is {url!r}, wanted http://HOST:PORT such as http://127.0.0.1:8000")
    return host, port
