"""``python -m service``: check what can be checked before the start, then become gunicorn."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from service.errors import SettingsError
from service.framing import gunicorn_names
from service.home_lock import claim
from service.parent import follow_parent
from service.ports import refuse_open_bind, refuse_taken
from service.recording.failpoints import armed
from service.settings import ServiceSettings, from_environment
from service.telemetry.counts_file import own_folder

CONFIGURATION = Path(__file__).with_name("gunicorn.conf.py")


def main() -> int:
    """Start the service; give 2 and say why when it cannot start."""
    follow_parent(os.environ)
    try:
        settings = from_environment(os.environ)
        check(settings)
        claim(settings.home)
        refuse_taken(settings.bind, "EVERGREEN_BIND", wait_seconds=1.0)
    except SettingsError as error:
        print(f"evergreen service: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"evergreen service: {error.filename} cannot be used: {error.strerror}", file=sys.stderr)
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
        Another gunicorn than the worker is made for, a home that cannot be written, a wrong key file, an open address without keys,
        an unknown failpoint.
    """
    if complaint := gunicorn_names.complaint():
        raise SettingsError(complaint)
    refuse_unwritable(settings)
    if settings.keys_file is not None:
        from service.web.api_keys import load_keys  # brings much with it, and this process only looks and starts another

        load_keys(settings.keys_file)
    refuse_open_bind(is_loopback=settings.is_loopback, bind=settings.bind, has_keys=settings.keys_file is not None)
    if settings.failpoint is not None:
        armed(settings.failpoint)


def refuse_unwritable(settings: ServiceSettings) -> None:
    """Make the folders of the home; raise SettingsError where that cannot be, or where nothing can be written into them."""
    home = settings.home
    try:
        home.ensure()
    except OSError as error:
        raise SettingsError(f"the home {home.path} cannot be made: {error.strerror}") from error
    for folder in (home.path, home.spool, home.cache, home.metrics):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SettingsError(f"{folder} cannot be written: the service keeps what it answered there; EVERGREEN_HOME names another home")
    own_folder(settings.metrics_home)


if __name__ == "__main__":
    sys.exit(main())
