"""What an address is: whether it is free to listen on, whether it leads to this machine alone, and that only keys open it to others."""

from __future__ import annotations

import errno
import ipaddress
import socket
import time

from service.errors import AddressTakenError, SettingsError


def split_bind(text: str, variable: str) -> tuple[str, int]:
    """Return host and port of an address to listen on; raises SettingsError with the name of its variable.

    Examples
    --------
    >>> split_bind("[::1]:9000", "EVERGREEN_BIND")
    ('::1', 9000)
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"{variable} is {text!r}; it must be host:port, for example 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def refuse_taken(bind: str, variable: str, *, wait_seconds: float = 0.0) -> None:
    """Raise SettingsError, which names the variable that sets another address, when one cannot listen on `bind`.

    Parameters
    ----------
    wait_seconds
        So long something that listens there already may take to go; AddressTakenError is raised when it stays.

    Examples
    --------
    >>> with socket.create_server(("127.0.0.1", 0)) as taken:
    ...     refuse_taken(f"127.0.0.1:{taken.getsockname()[1]}", "EVERGREEN_BIND")
    Traceback (most recent call last):
    service.errors.AddressTakenError: cannot listen on 127.0.0.1:...: Address already in use. ...
    """
    deadline = time.monotonic() + wait_seconds
    host, port = split_bind(bind, variable)
    while (error := _why_taken(host, port)) is not None:
        reason = f"cannot listen on {bind}: {getattr(error, 'strerror', None) or error}"
        if getattr(error, "errno", None) != errno.EADDRINUSE:
            raise SettingsError(f"{reason}. Set {variable} to another address") from error
        if time.monotonic() >= deadline:
            raise AddressTakenError(f"{reason}. Is Evergreen running already? Set {variable} to use another port") from error
        time.sleep(0.05)


def _why_taken(host: str, port: int) -> OSError | UnicodeError | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no look-up takes
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
