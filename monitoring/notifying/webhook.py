"""One POST to a webhook, signed by Standard Webhooks 1.0 (standardwebhooks.com): no redirect is followed, every wait has an end."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import unquote

from monitoring.errors import DeliveryError
from monitoring.settings import WebhookSettings

STEP_SECONDS = 5.0  # for connecting, and for each answer of the network; the whole may take twice as long
TOO_LATE = "no answer in time"
MOST_READ = 1024  # bytes of an answer; its status is what counts


def signatures(keys: Sequence[bytes], message_id: str, timestamp: int, content: bytes) -> str:
    """Return the value of ``webhook-signature``: HMAC-SHA256 of id, timestamp and body, one for each key.

    Examples
    --------
    >>> key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> signatures([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b".".join([message_id.encode(), str(timestamp).encode(), content])
    codes = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)
    return " ".join(f"v1,{code}" for code in codes)


def post(settings: WebhookSettings, message_id: str, content: bytes, timestamp: int, *, step_seconds: float = STEP_SECONDS) -> None:
    """Post a body once.

    Parameters
    ----------
    timestamp
        Seconds since 1970, of this attempt.

    Raises
    ------
    DeliveryError
        No 2xx came; whether the body arrived is not known.
    """
    parts = settings.parts
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "evergreen",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(settings.keys, message_id, timestamp, content),
    }
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=step_seconds)
    deadline = Deadline(2 * step_seconds)
    try:
        connection.connect()
        deadline.start(connection.sock)
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), content, headers)
        response = connection.getresponse()
        status = response.status
        response.read(MOST_READ)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise DeliveryError(f"{settings.where}: {TOO_LATE if deadline.is_over else why(error)}") from None  # below may stand the address
    finally:
        deadline.stop()
        connection.close()
    if deadline.is_over:
        raise DeliveryError(f"{settings.where}: {TOO_LATE}")
    if not 200 <= status < 300:
        note = " (redirects are not followed)" if 300 <= status < 400 else ""
        raise DeliveryError(f"{settings.where} answered {status}{note}")


class Deadline:
    """Ends a connection after a while, so that a peer who sends a letter now and then cannot hold us.

    Attributes
    ----------
    is_over
        Whether it was ended: then nothing that was read since is whole.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def start(self, sock: socket.socket) -> None:
        """Let it run from now on."""
        self._timer = threading.Timer(self._seconds, self._end, (sock,))
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Let it run no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, sock: socket.socket) -> None:
        self.is_over = True
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def why(error: Exception) -> str:
    """Say what went wrong on the way, without what was sent.

    Examples
    --------
    >>> why(TimeoutError("timed out")), why(ConnectionRefusedError(111, "Connection refused"))
    ('no answer in time', 'Connection refused')
    """
    if isinstance(error, TimeoutError):
        return TOO_LATE
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"the connection broke ({type(error).__name__})"
