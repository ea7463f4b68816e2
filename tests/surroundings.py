"""What a test run takes over from the shell, the make or the editor that started it: nothing that changes what programs do."""

from __future__ import annotations

from collections.abc import MutableMapping

OURS = ("EVERGREEN_TEST_DATA", "EVERGREEN_FAULT_REPORT", "EVERGREEN_DRILL_REPORT", "EVERGREEN_CAPTURE")
"""Those of our variables that are for the tests."""
PREFIXES = ("EVERGREEN_", "PG", "GUNICORN_")
NAMES = frozenset(
    {
        *("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"),  # of `make test`
        *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONSAFEPATH", "PYTHONHASHSEED", "PYTHONDEVMODE"),
        *("COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE", "NO_COLOR"),
        *("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PROMETHEUS_MULTIPROC_DIR"),
    }
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
LOCAL = "localhost,127.0.0.1,::1"


def forget_surroundings(environment: MutableMapping[str, str]) -> None:
    """Take out what other programs would heed; a proxy stays for what is fetched, and is not asked for this machine.

    Examples
    --------
    >>> environment = {"PATH": "/bin", "MAKEFLAGS": "-j2", "EVERGREEN_HOME": "/srv", "EVERGREEN_TEST_DATA": "/data", "HTTP_PROXY": "a:1"}
    >>> forget_surroundings(environment)
    >>> environment["no_proxy"], sorted(environment)
    ('localhost,127.0.0.1,::1', ['EVERGREEN_TEST_DATA', 'HTTP_PROXY', 'NO_PROXY', 'PATH', 'no_proxy'])
    """
    for name in list(environment):
        if name in NAMES or (name.startswith(PREFIXES) and name not in OURS):
            del environment[name]
    if any(environment.get(name) for proxy in PROXIES for name in (proxy, proxy.upper())):
        environment["no_proxy"] = environment["NO_PROXY"] = LOCAL
