"""Settings of the watching process, read once from the environment."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from service.errors import ServiceError
from service.ports import is_loopback, split_bind
from training.errors import SettingsError
from training.settings import Home
from training.settings import from_environment as training_settings


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
    )


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
