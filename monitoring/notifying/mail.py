"""One mail by SMTP, encrypted unless the settings say otherwise; every wait has an end."""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

from monitoring.errors import DeliveryError
from monitoring.journal.outbox import Package
from monitoring.notifying.payloads import body, subject, text
from monitoring.notifying.webhook import TOO_LATE, Deadline, why
from monitoring.settings import MailSettings
from training.clock import from_us

logger = logging.getLogger(__name__)
STEP_SECONDS = 5.0  # for each answer of the server; the whole may take three times as long
MOST_LETTERS = 150  # of a subject


def compose(settings: MailSettings, package: Package, at_us: int) -> EmailMessage:
    """Return a package as a mail, the JSON attached; at each attempt it has one Message-ID."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(f"[evergreen] {subject(package)}".split())[:MOST_LETTERS]
    mail["From"], mail["To"] = settings.sender, ", ".join(settings.receivers)
    mail["Date"], mail["Message-ID"] = format_datetime(from_us(at_us)), f"<{package.id}@{settings.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers that he is on holiday
    mail.set_content(text(package))
    mail.add_attachment(body(package), "application", "json", filename=f"{package.id}.json")
    return mail


def send(settings: MailSettings, mail: EmailMessage, context: ssl.SSLContext | None = None, *, step_seconds: float = STEP_SECONDS) -> None:
    """Hand a mail to the server once; a receiver whom it does not know, beside others, is only logged.

    Parameters
    ----------
    context
        What is trusted; by default what the machine trusts (also ``SSL_CERT_FILE``).

    Raises
    ------
    DeliveryError
        The server did not take it for anybody; or it is not known whether it did.
    """
    where, deadline = f"{settings.host}:{settings.port}", Deadline(3 * step_seconds)
    server = _client(settings, context or ssl.create_default_context(), step_seconds)
    try:
        server.connect(settings.host, settings.port)
        assert server.sock is not None  # it is connected
        deadline.start(server.sock)
        if settings.encryption == "starttls":
            server.starttls(context=context or ssl.create_default_context())
        if settings.user is not None:
            server.login(settings.user, settings.password or "")
        unknown = server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        raise DeliveryError(f"{where} takes no mail for {', '.join(error.recipients)}") from None
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise DeliveryError(f"{where}: {TOO_LATE if deadline.is_over else _reason(error)}") from None  # below may stand what was sent
    finally:
        deadline.stop()
        server.close()
    if unknown:
        logger.error("%s takes no mail for %s", where, ", ".join(unknown))


def _client(settings: MailSettings, context: ssl.SSLContext, seconds: float) -> smtplib.SMTP:
    """Return a client that is not connected yet, and knows whose certificate it wants."""
    name = socket.gethostname()  # by default it looks its own name up, which may take long
    kind = smtplib.SMTP_SSL(local_hostname=name, timeout=seconds, context=context) if settings.encryption == "tls" else None
    client = kind or smtplib.SMTP(local_hostname=name, timeout=seconds)
    client._host = settings.host  # type: ignore[attr-defined]  # set by the constructor only where that connects
    return client


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return str(error)
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error.decode("ascii", "replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
        return f"it answered {error.smtp_code} {' '.join(words.split())[:100]}"
    return TOO_LATE if isinstance(error.__context__, TimeoutError) else why(error)  # smtplib tells a timeout as a closed connection
