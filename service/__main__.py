"""``python -m service``: check what can be checked before the start, then become gunicorn."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from service.access import load_keys, refuse_open_bind
from service.errors import SettingsError
from service.failpoints import armed
from service.settings import ServiceSettings, from_environment

CONFIGURATION = Path(__file__).with_name("gunicorn.conf.py")


def main() -> int:
    """Start the service; give 2 and say why when it cannot start."""
    try:
        check(from_environment(os.environ))
    except SettingsError as error:
        print(f"evergreen service: {error}", file=sys.stderr)
        return 2
    return become_gunicorn()


def become_gunicorn() -> NoReturn:
    """Replace this process by gunicorn's master.

    glibc would keep memory apart for each of many threads, and what a large request took would stay with the one it was on.
    """
    sys.stdout.flush()
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "--config", str(CONFIGURATION)])


def check(settings: ServiceSettings) -> None:
    """Find out now what would fail in every worker later.

    Raises
    ------
    SettingsError
        A wrong key file, an open address without keys, an unknown failpoint, a taken port.
    """
    if settings.keys_file is not None:
        load_keys(settings.keys_file)
    refuse_open_bind(is_loopback=settings.is_loopback, bind=settings.bind, has_keys=settings.keys_file is not None)
    if settings.failpoint is not None:
        armed(settings.failpoint)
    refuse_taken_port(settings)


def refuse_taken_port(settings: ServiceSettings) -> None:
    """Raise SettingsError when somebody listens on the address already."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(f"cannot listen on {settings.bind}: {error.strerror}; set EVERGREEN_BIND to another address") from None


if __name__ == "__main__":
    sys.exit(main())
