"""A mail as a server sees it: encrypted first, the password after it, the same facts as text and as JSON."""

from __future__ import annotations

import base64
import email
import shutil
import ssl
from dataclasses import replace
from email import policy
from pathlib import Path

import orjson
import pytest

from monitoring.errors import DeliveryError
from monitoring.journal.outbox import Package, StoredMessage
from monitoring.notifying.mail import compose, send
from monitoring.settings import MailSettings
from tests.conftest import Once
from tests.receivers import mail_server, make_certificate, raw_server

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate: mail is NOT tested")
SETTINGS = MailSettings("localhost", 0, "starttls", "evergreen@example.com", ("ann@example.com", "bob@example.com"), "eve", "secret")
CONTENT = {
    "model": "rain",
    "summary": "rain: drift in Köln",
    "since": "1970-03-08T00:00:00+00:00",
    "evidence": ["drift in Köln (PSI 0.43)"],
    "done": "nothing",
    "next": ["evergreen episodes --model rain"],
}
PACKAGE = Package("msg_1", (StoredMessage("msg_1", "rain", "drift.began", 0, CONTENT, "drift:1@5"),), 1)


@pytest.fixture(scope="session")
def certificate(once: Once) -> Path:
    return once("certificate", make_certificate) / "certificate.pem"


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def test_a_mail_is_sent_encrypted_with_its_facts_as_text_and_as_json(certificate: Path, trusting: ssl.SSLContext) -> None:
    with mail_server(certificate) as server:
        send(replace(SETTINGS, port=server.port), compose(SETTINGS, PACKAGE, 0), trusting)

    [raw] = server.mails
    mail = email.message_from_bytes(raw, policy=policy.default)
    text, attached = mail.get_body(("plain",)), next(mail.iter_attachments())
    assert (mail["Subject"], mail["Message-ID"]) == ("[evergreen] rain: drift in Köln", "<msg_1@example.com>")
    assert text is not None
    assert text.get_content().splitlines() == [
        "rain: drift in Köln",
        "  since: 1970-03-08 00:00 (model time)",
        "  why: drift in Köln (PSI 0.43)",
        "  done: nothing",
        "  next: evergreen episodes --model rain",
    ]
    assert orjson.loads(attached.get_content())["data"] == CONTENT
    open_lines = [line.split()[0] for line in server.dialogue if not line.startswith("*")]
    assert [verb.upper() for verb in open_lines] == ["EHLO", "STARTTLS"]
    assert "*AUTH PLAIN " + base64.b64encode(b"\0eve\0secret").decode() in server.dialogue


def test_without_encryption_no_word_is_sent_where_it_is_wanted(certificate: Path, trusting: ssl.SSLContext) -> None:
    with mail_server(certificate, extensions=("AUTH PLAIN",)) as server, pytest.raises(DeliveryError, match="STARTTLS"):
        send(replace(SETTINGS, port=server.port), compose(SETTINGS, PACKAGE, 0), trusting)

    assert {line.split()[0].upper() for line in server.dialogue} <= {"EHLO", "QUIT"}


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    with mail_server(certificate) as server, pytest.raises(DeliveryError, match="certificate cannot be trusted"):
        send(replace(SETTINGS, port=server.port), compose(SETTINGS, PACKAGE, 0))

    assert server.mails == []


def test_a_receiver_nobody_knows_keeps_no_other_from_the_mail(certificate: Path, trusting: ssl.SSLContext) -> None:
    mail = compose(SETTINGS, PACKAGE, 0)
    with mail_server(certificate, unknown=("bob@",)) as server:
        send(replace(SETTINGS, port=server.port), mail, trusting)
        with pytest.raises(DeliveryError, match=r"takes no mail for bob@example.com$"):
            send(replace(SETTINGS, port=server.port, receivers=("bob@example.com",)), compose(
                replace(SETTINGS, receivers=("bob@example.com",)), PACKAGE, 0), trusting)  # fmt: skip

    assert len(server.mails) == 1


def test_a_mail_that_is_refused_is_a_failure_with_the_servers_words_and_without_the_password(
    certificate: Path, trusting: ssl.SSLContext
) -> None:
    with (
        mail_server(certificate, answer_to_data="452 full") as server,
        pytest.raises(DeliveryError, match="it answered 452 full") as failure,
    ):
        send(replace(SETTINGS, port=server.port), compose(SETTINGS, PACKAGE, 0), trusting)

    assert "secret" not in f"{failure.value} {SETTINGS}"


def test_a_server_that_says_nothing_is_a_failure_and_not_a_wait() -> None:
    with raw_server(lambda sock: sock.recv(1)) as port, pytest.raises(DeliveryError, match="no answer in time"):
        send(replace(SETTINGS, port=port), compose(SETTINGS, PACKAGE, 0), step_seconds=0.2)
