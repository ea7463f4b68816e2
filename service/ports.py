"""What an address is: whether it is free to listen on, whether it leads to this machine alone, and that only keys open it to others."""

from __future__ import annotations

import ipaddress
import socket
import time

from service.errors import SettingsError


def refuse_taken(bind: str, variable: str, *, wait_seconds: float = 0.0) -> None:
    """Raise SettingsError when something listens on `bind` already, and goes on to, naming the variable that sets another address.

    Examples
    --------
    >>> with socket.create_server(("127.0.0.1", 0)) as taken:
    ...     refuse_taken(f"127.0.0.1:{taken.getsockname()[1]}", "EVERGREEN_BIND")
    Traceback (most recent call last):
    service.errors.SettingsError: cannot listen on 127.0.0.1:...: Address already in use. ...
    """
    deadline = time.monotonic() + wait_seconds
    while (error := _why_taken(bind)) is not None:
        if time.monotonic() >= deadline:
            raise SettingsError(
                f"cannot listen on {bind}: {error.strerror}. Is Evergreen running already? Set {variable} to use another port"
            ) from error
        time.sleep(0.05)


def _why_taken(bind: str) -> OSError | None:
    host, _, port = bind.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            return error
    return None


def is_loopback(host: str) -> bool:
    """Return whether a name or an address leads to this machine, by itself alone: no name is looked up.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.8.0.1", "::1", "0.0.0.0", "evil.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_open_bind(*, is_loopback: bool, bind: str, has_keys: bool) -> None:
    """Refuse to listen to the network without keys.

    Raises
    ------
    SettingsError
        The address is not loopback and there is no key file.
    """
    if not is_loopback and not has_keys:
        raise SettingsError(
            f"refusing to listen on {bind} without a key file: make one (EVERGREEN_KEYS_FILE), "
            "or bind a loopback address such as 127.0.0.1:8000"
        )
