"""A POST as a receiver sees it: signed so that anybody can verify it, sent once, never waiting for ever, naming no secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitoring.errors import DeliveryError
from monitoring.notifying.webhook import post
from monitoring.settings import WebhookSettings
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from tests.receivers import Received, raw_server, receiver

OLD, NEW = b"o" * 24, b"n" * 32
IMPATIENT = 0.2
EXAMPLE = Path(__file__).parents[3] / "examples" / "webhook_receiver.py"
BODY = '{"type":"drift.began","data":{"summary":"Köln"}}'.encode()


def send(url: str, keys: tuple[bytes, ...] = (NEW,), seconds: float = 5.0) -> None:
    post(WebhookSettings(url, keys), "msg_1", BODY, 1_700_000_000, step_seconds=seconds)


def is_signed(request: Received, key: bytes) -> bool:
    """Verify a request as the specification says it, by code of our own."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(wanted, one) for one in request.headers["webhook-signature"].split(" "))


def test_a_receiver_verifies_what_it_got_with_either_key_while_they_are_changed() -> None:
    with receiver() as hook:
        send(hook.url + "?a=1", (NEW, OLD))

    [request] = hook.got
    assert (request.path, request.body) == ("/hook?a=1", BODY)
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == ("msg_1", "1700000000")
    assert [is_signed(request, key) for key in (NEW, OLD, b"x" * 24)] == [True, True, False]


@pytest.mark.parametrize(("status", "says"), [(500, "answered 500"), (404, "answered 404"), (302, "redirects are not followed")])
def test_only_a_2xx_is_an_arrival_and_no_redirect_is_followed(status: int, says: str) -> None:
    with receiver([status]) as hook, pytest.raises(DeliveryError, match=says):
        send(hook.url)

    assert len(hook.got) == 1


def test_a_name_and_a_password_are_sent_and_shown_nowhere() -> None:
    with receiver([204, 500]) as hook:
        url = hook.url.replace("http://", "http://ann:p%40ss@") + "/topsecret"
        send(url)
        with pytest.raises(DeliveryError) as failure:
            send(url)

    assert hook.got[0].headers["Authorization"] == "Basic " + base64.b64encode(b"ann:p@ss").decode()
    shown = f"{failure.value} {failure.value.__cause__} {WebhookSettings(url, (NEW,))}"
    assert [word for word in ("p%40ss", "p@ss", "ann", "topsecret", "nnnn") if word in shown] == []


def test_the_receiver_of_the_examples_takes_what_is_signed_once_and_nothing_else() -> None:
    port, secret = free_port(), "whsec_" + base64.b64encode(NEW).decode()
    command = [sys.executable, str(EXAMPLE), str(port)]
    with subprocess.Popen(command, env={**os.environ, "RECEIVER_SECRET": secret}, stdout=subprocess.PIPE, text=True) as process:
        settings, now = WebhookSettings(f"http://127.0.0.1:{port}/", (NEW,)), int(time.time())
        until(lambda: outcome(settings, "msg_1", now) == "")
        outcomes = [outcome(settings, "msg_1", now), outcome(settings, "msg_2", now), outcome(settings, "msg_3", now - 3600)]
        outcomes.append(outcome(replace(settings, keys=(OLD,)), "msg_4", now))
        process.terminate()
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert outcomes == ["", "", *[f"http://127.0.0.1:{port} answered 401"] * 2]
    assert printed.splitlines() == ["drift.began Köln"] * 2


def outcome(settings: WebhookSettings, message_id: str, at: int) -> str:
    """Post a message; return what went wrong."""
    try:
        post(settings, message_id, BODY, at)
    except DeliveryError as error:
        return str(error)
    return ""


def drips(sock: Any) -> None:
    """Answer a letter at a time, for ever."""
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(10_000):
        sock.sendall(b"a")
        sock.settimeout(IMPATIENT / 10)
        try:
            if not sock.recv(1):
                return
        except TimeoutError:
            continue


def answers_something_else(sock: Any) -> None:
    sock.sendall(b"220 mail.example.com ESMTP\r\n")


@pytest.mark.parametrize("serve", [drips, answers_something_else, lambda sock: sock.recv(1)], ids=["drips", "no HTTP", "hangs up"])
def test_an_endpoint_that_is_none_is_a_failure_and_not_a_wait(serve: Callable[[Any], None]) -> None:
    with raw_server(serve) as port, pytest.raises(DeliveryError, match=f"http://127.0.0.1:{port}: "):
        send(f"http://127.0.0.1:{port}/", seconds=IMPATIENT)


def test_an_endpoint_that_hangs_or_is_not_there_is_a_failure_and_not_a_wait() -> None:
    with receiver(["hang"]) as hook, pytest.raises(DeliveryError, match="no answer in time"):
        send(hook.url, seconds=IMPATIENT)
    with pytest.raises(DeliveryError, match="Connection refused"):
        send(f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(DeliveryError, match=r"http://nowhere\.invalid: "):
        send("http://nowhere.invalid/")
