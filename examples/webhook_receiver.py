"""A receiver of Evergreen's messages, with nothing but Python: verifies the signature, drops what it has, prints what happened.

    RECEIVER_SECRET=whsec_... python examples/webhook_receiver.py 9000

and for the monitor EVERGREEN_WEBHOOK_URL=http://127.0.0.1:9000/ and EVERGREEN_WEBHOOK_SECRET, the same secret. What it has is kept in
memory: a real receiver keeps it as long as what it does with a message.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

TOLERANCE_SECONDS = 300
MOST_BYTES = 1 << 20
KEY = base64.b64decode(os.environ["RECEIVER_SECRET"].removeprefix("whsec_"))


def is_genuine(message_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
    """Return whether a request was signed with our secret, and not long ago."""
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    code = hmac.digest(KEY, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    wanted = b"v1," + base64.b64encode(code)
    return any(hmac.compare_digest(wanted, one.encode()) for one in signatures.split())


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine, 401 to anything else."""

    known: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        """Take a message."""
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        message_id, timestamp, signatures = (self.headers.get(name, "") for name in names)
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MOST_BYTES))
        is_ours = is_genuine(message_id, timestamp, signatures, body)
        if is_ours and message_id not in self.known:
            self.known.add(message_id)
            message = json.loads(body)
            print(message["type"], message["data"]["summary"], flush=True)
        self.send_response(204 if is_ours else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver) as server:
        server.serve_forever()
