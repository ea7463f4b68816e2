"""Receivers of messages: an HTTP server and an SMTP server on loopback that do what a test says, and keep what they got."""

from __future__ import annotations

import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from tests.patience import until


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """A webhook.

    Attributes
    ----------
    answers
        The status of each answer to come; 200 when there are no more. ``"hang"`` answers when it is let go.
    """

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    got: list[Received] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, n: int) -> list[Received]:
        return until(lambda: self.got if len(self.got) >= n else None, lambda: f"{n} requests, {len(self.got)} came")


@contextmanager
def receiver(answers: list[int | str] | None = None) -> Iterator[Receiver]:
    """Run a webhook."""
    state = Receiver(answers=list(answers or []))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = state.answers.pop(0) if state.answers else 200
            state.got.append(Received(self.path, dict(self.headers), body))
            if answer == "hang":
                state.let_go.wait()
                return
            self.send_response(int(answer))
            self.send_header("Location", state.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield state
        finally:
            state.let_go.set()
            server.shutdown()


@contextmanager
def raw_server(serve: Callable[[Any], None]) -> Iterator[int]:
    """Run a server that does with each connection what `serve` does; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@dataclass
class MailServer:
    """An SMTP server: what it offers, whom it knows, and what it got.

    Attributes
    ----------
    dialogue
        Each line that a client sent, after a ``*`` where the connection was encrypted.
    """

    port: int = 0
    extensions: tuple[str, ...] = ("STARTTLS", "AUTH PLAIN")
    unknown: tuple[str, ...] = ()
    answer_to_data: str = "250 taken"
    dialogue: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)


@contextmanager
def mail_server(certificate: Path, **options: Any) -> Iterator[MailServer]:
    """Run an SMTP server with a certificate, key included, for ``localhost``."""
    state = MailServer(**options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(sock: Any) -> None:
        star = ""
        reader = sock.makefile("rb")
        sock.sendall(b"220 here\r\n")
        while line := reader.readline():
            text = line.decode().strip()
            state.dialogue.append(star + text)
            verb = text.split()[0].upper()
            if verb == "EHLO":
                offered = [one for one in state.extensions if not (star and one == "STARTTLS")]
                replies = ["localhost", *offered]
                answer = "\r\n".join(f"250{' ' if i == len(replies) - 1 else '-'}{one}" for i, one in enumerate(replies))
            elif verb == "STARTTLS":
                sock.sendall(b"220 go\r\n")
                sock = context.wrap_socket(sock, server_side=True)
                reader, star = sock.makefile("rb"), "*"
                continue
            elif verb == "DATA":
                sock.sendall(b"354 go\r\n")
                lines = iter(reader.readline, b".\r\n")
                state.mails.append(b"".join(one.removeprefix(b".") if one.startswith(b"..") else one for one in lines))
                answer = state.answer_to_data
            elif verb == "RCPT" and any(one in text for one in state.unknown):
                answer = "550 nobody"
            elif verb == "AUTH":
                answer = "235 welcome"
            else:
                answer = "250 yes"
            sock.sendall(answer.encode() + b"\r\n")
        reader.close()
        sock.close()

    with raw_server(serve) as state.port:
        yield state


def make_certificate(folder: Path) -> Path:
    """Make a certificate for ``localhost`` that signs itself, with its key in the same file."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + key.read_text())
    return certificate
