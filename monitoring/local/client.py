"""A small HTTP client of the service: keep-alive, retries only what was refused or never sent."""

from __future__ import annotations

import http.client
import time
from typing import Any
from urllib.parse import urlsplit

import orjson

from monitoring.errors import ReplayError

IDLE_SECONDS = 0.5  # a connection that idled longer is made anew: the server may be closing it
RETRY_SECONDS = 0.1


class Client:
    """Speak to one service over one connection at a time.

    Parameters
    ----------
    url
        Such as ``http://127.0.0.1:8000``.
    key
        An API key with the scopes predict, label and read; None on loopback.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._netloc = urlsplit(url).netloc
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
                raise ReplayError(f"POST {path} answered {status}: {text[:500].decode('utf-8', 'replace')}")
            time.sleep(RETRY_SECONDS)

    def followed_move(self, model: str) -> int:
        """Return the move of the champion alias that every worker has followed; -1 while one serves none or an older note."""
        _, text = self._send("GET", "/metrics", None)
        name = f'evergreen_model_move{{model="{model}"}} '
        return next((int(float(line.removeprefix(name))) for line in text.decode().splitlines() if line.startswith(name)), -1)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
        try:
            return self._exchange(method, path, content)
        except (ConnectionError, http.client.HTTPException, TimeoutError) as error:
            self.close()
            raise ReplayError(f"{method} {path}: the connection broke ({error!r}); whether it was done is not known") from error
        finally:
            self._used = time.monotonic()

    def _exchange(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._netloc, timeout=60)
        self._connection.request(method, path, content, self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.will_close:
            self.close()
        return response.status, text
