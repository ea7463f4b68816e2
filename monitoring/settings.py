"""Settings of the watching process, read once from the environment."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, get_args
from urllib.parse import SplitResult, urlsplit

from service.errors import ServiceError
from service.ports import is_loopback, split_bind
from service.recording.failpoints import armed
from training.errors import SettingsError
from training.settings import Home
from training.settings import from_environment as training_settings

SECRET_PREFIX = "whsec_"
NOTIFYING = tuple(f"EVERGREEN_{name}" for name in ("WEBHOOK_", "SMTP", "MAIL_"))  # how names begin that no training child is to know
Encryption = Literal["starttls", "tls", "none"]
_ADDRESS = re.compile(r"[!-~]+@[!-~]+")
_WHERE_TO = "wanted https://HOST/PATH or http://HOST/PATH"


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where messages are posted to, and the keys they are signed with; what is shown of it names no secret.

    Attributes
    ----------
    url
        May hold a name and a password, for basic authentication, and a secret in its path: shown is only `where`.
    keys
        The newest first; two while they are changed.
    """

    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)

    @property
    def parts(self) -> SplitResult:
        """The parts of the address."""
        return urlsplit(self.url)

    @property
    def where(self) -> str:
        """The address without name, password, path and query."""
        return f"{self.parts.scheme}://{self.parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Who gets mail, from whom, through which server."""

    host: str
    port: int
    encryption: Encryption
    sender: str
    receivers: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """The server and the receivers."""
        return f"{', '.join(self.receivers)} by {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """What the monitor is told.

    Attributes
    ----------
    home, database_url
        As for training: `EVERGREEN_HOME`, `EVERGREEN_DATABASE_URL`.
    bind
        `EVERGREEN_MONITOR_BIND`: host:port of `/metrics` and `/livez`.
    models
        `EVERGREEN_MODELS`: the models to watch; empty means all that are registered.
    hosts
        `EVERGREEN_HOSTS`: the names by which a monitor on loopback may be asked, beside localhost.
    tick
        `EVERGREEN_TICK_SECONDS`: how often it looks whether something is due.
    lease
        `EVERGREEN_LEASE_SECONDS`: how long the others wait when the acting monitor falls silent.
    run_deadline
        `EVERGREEN_RETRAIN_SECONDS`: a training child that takes longer is killed.
    holder
        Who this process is, in the lease row: unique to its start, since in two containers host and process id may be the same.
    failpoint
        `EVERGREEN_FAILPOINT`: for tests; where this process, or a training child, kills or stops itself.
    webhook
        `EVERGREEN_WEBHOOK_URL`, `EVERGREEN_WEBHOOK_SECRET`: where messages are posted to; None: nowhere.
    mail
        `EVERGREEN_MAIL_TO`, `EVERGREEN_MAIL_FROM`, `EVERGREEN_SMTP` and those that begin so: who gets mail; None: nobody.
    """

    home: Home
    database_url: str
    bind: str = "127.0.0.1:8001"
    models: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tick: timedelta = timedelta(seconds=0.5)
    lease: timedelta = timedelta(seconds=15)
    run_deadline: timedelta = timedelta(hours=1)
    log_level: str = "INFO"
    holder: str = "monitor"
    failpoint: str | None = None
    webhook: WebhookSettings | None = None
    mail: MailSettings | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.address[0])


def from_environment(environment: Mapping[str, str]) -> MonitoringSettings:
    """Read the settings; raises SettingsError naming the variable.

    Examples
    --------
    >>> from_environment({"EVERGREEN_MONITOR_BIND": "127.0.0.1:9001"}).address
    ('127.0.0.1', 9001)
    """
    core = training_settings(environment)
    bind = environment.get("EVERGREEN_MONITOR_BIND") or "127.0.0.1:8001"
    try:
        split_bind(bind, "EVERGREEN_MONITOR_BIND")
    except ServiceError as error:
        raise SettingsError(str(error)) from error
    level = (environment.get("EVERGREEN_LOG_LEVEL") or "INFO").upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError(f"EVERGREEN_LOG_LEVEL is {level!r}; it must be DEBUG, INFO, WARNING or ERROR")
    return MonitoringSettings(
        home=core.home,
        database_url=core.database_url,
        bind=bind,
        models=_names(environment.get("EVERGREEN_MODELS")),
        hosts=_names(environment.get("EVERGREEN_HOSTS")),
        tick=_seconds(environment, "EVERGREEN_TICK_SECONDS", 0.5, least=0.05),
        lease=_seconds(environment, "EVERGREEN_LEASE_SECONDS", 15.0, least=1.0),
        run_deadline=_seconds(environment, "EVERGREEN_RETRAIN_SECONDS", 3600.0, least=1.0),
        log_level=level,
        holder=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}",
        failpoint=_failpoint(environment),
        webhook=_webhook(environment),
        mail=_mail(environment),
    )


def _failpoint(environment: Mapping[str, str]) -> str | None:
    text = environment.get("EVERGREEN_FAILPOINT") or None
    if text is not None:
        try:
            armed(text)
        except ServiceError as error:
            raise SettingsError(str(error)) from error
    return text


def _webhook(environment: Mapping[str, str]) -> WebhookSettings | None:
    url, secret = environment.get("EVERGREEN_WEBHOOK_URL"), environment.get("EVERGREEN_WEBHOOK_SECRET")
    if not url:
        if secret:
            raise SettingsError("EVERGREEN_WEBHOOK_SECRET is set and EVERGREEN_WEBHOOK_URL is not: nothing would be sent")
        return None
    try:
        parts, host = urlsplit(url), urlsplit(url).hostname
        is_address = parts.scheme in ("http", "https") and bool(host) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_address = False
    if not is_address or not url.isascii() or not url.isprintable() or " " in url or "#" in url:
        raise SettingsError(f"EVERGREEN_WEBHOOK_URL is no address of a webhook (it is not shown: it may hold a secret); {_WHERE_TO}")
    if not secret:
        raise SettingsError("EVERGREEN_WEBHOOK_URL is set and EVERGREEN_WEBHOOK_SECRET is not: every message is signed")
    return WebhookSettings(url, tuple(map(_signing_key, secret.split())))


def _signing_key(text: str) -> bytes:
    """Read a secret as Standard Webhooks writes it: ``whsec_`` and 24 to 64 bytes in base64."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise SettingsError(
            f"EVERGREEN_WEBHOOK_SECRET (it is not shown) must be {SECRET_PREFIX} and 24 to 64 bytes in base64; "
            "two of them, parted by a blank, while it is changed"
        )
    return key


def _mail(environment: Mapping[str, str]) -> MailSettings | None:
    receivers, server = _names(environment.get("EVERGREEN_MAIL_TO")), environment.get("EVERGREEN_SMTP")
    sender, encryption = environment.get("EVERGREEN_MAIL_FROM"), environment.get("EVERGREEN_SMTP_ENCRYPTION") or "starttls"
    user, password = environment.get("EVERGREEN_SMTP_USER") or None, environment.get("EVERGREEN_SMTP_PASSWORD") or None
    if not receivers and not server:
        return None
    for name, value in (("EVERGREEN_MAIL_TO", receivers), ("EVERGREEN_SMTP", server), ("EVERGREEN_MAIL_FROM", sender)):
        if not value:
            raise SettingsError(f"{name} is not set; for mail EVERGREEN_MAIL_TO, EVERGREEN_MAIL_FROM and EVERGREEN_SMTP are wanted")
    for name, addresses in (("EVERGREEN_MAIL_TO", receivers), ("EVERGREEN_MAIL_FROM", (sender,))):
        wrong = [one for one in addresses if _ADDRESS.fullmatch(one or "") is None]
        if wrong:
            raise SettingsError(f"{name} holds {wrong[0]!r}; a mail address such as ops@example.com is wanted")
    try:
        host, port = split_bind(str(server), "EVERGREEN_SMTP")
    except ServiceError as error:
        raise SettingsError(str(error)) from error
    if encryption not in get_args(Encryption):
        raise SettingsError(f"EVERGREEN_SMTP_ENCRYPTION is {encryption!r}; it must be starttls, tls or none")
    if (user is None) != (password is None):
        raise SettingsError("of EVERGREEN_SMTP_USER and EVERGREEN_SMTP_PASSWORD one is set; both are wanted, or none")
    if user is not None and encryption == "none" and not is_loopback(host):
        raise SettingsError("EVERGREEN_SMTP_ENCRYPTION is none: a password is not sent to another machine in the open")
    return MailSettings(host, port, encryption, str(sender), receivers, user, password)  # type: ignore[arg-type]


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _seconds(environment: Mapping[str, str], name: str, default: float, *, least: float) -> timedelta:
    text = environment.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; it must be a number of seconds") from None
    if not least <= seconds <= 1e6:
        raise SettingsError(f"{name} is {text!r}; it must be between {least:g} and 1000000 seconds")
    return timedelta(seconds=seconds)
