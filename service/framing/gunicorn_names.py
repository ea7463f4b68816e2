"""What the worker uses of gunicorn, public and private, and whether the installed one has it.

gunicorn promises none of this to anybody, so it is looked at before the start: a sentence then, not a traceback in each worker.
"""

from __future__ import annotations

import importlib

USED: dict[str, tuple[str, ...]] = {
    "gunicorn.config": ("Config",),
    "gunicorn.errors": ("HaltServer",),
    "gunicorn.http.body": ("ChunkedReader", "LengthReader"),
    "gunicorn.http.errors": (
        "ExpectationFailed",
        "ForbiddenProxyRequest",
        "LimitRequestHeaders",
        "LimitRequestLine",
        "NoMoreData",
        "ParseException",
        "UnsupportedTransferCoding",
    ),
    "gunicorn.http.message": ("Request", "Request.should_close"),
    "gunicorn.http.unreader": ("IterUnreader", "IterUnreader.read"),
    "gunicorn.http.wsgi": ("create",),
    "gunicorn.workers.base": ("Worker", "Worker.PIPE", "Worker.init_process", "Worker.load_wsgi", "Worker.notify"),
}
"""By module: its names, and the attributes of its classes."""

SET: dict[str, tuple[str, ...]] = {
    "gunicorn.http.body.LengthReader.__init__": ("length",),
    "gunicorn.http.body.Body.__init__": ("reader",),
    "gunicorn.http.message.Message.__init__": ("headers", "version", "body", "_expected_100_continue"),
    "gunicorn.workers.base.Worker.__init__": ("age", "alive", "cfg", "ppid", "sockets"),
    "gunicorn.workers.base.Worker.load_wsgi": ("wsgi",),
}
"""By function: the attributes that it gives to its object."""


def missing() -> list[str]:
    """Return the names that the installed gunicorn lacks.

    Examples
    --------
    >>> missing()
    []
    """
    absent = [f"{module}.{name}" for module, names in USED.items() for name in names if _find(f"{module}.{name}") is None]
    for function, names in SET.items():
        code = getattr(_find(function), "__code__", None)
        owner = function.rpartition(".")[0]
        absent += [f"{owner}.{name}" for name in names if code is None or name not in code.co_names]
    return absent


def complaint() -> str | None:
    """Return why the service cannot run with the installed gunicorn; None when it can."""
    absent = missing()
    if not absent:
        return None
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = f"gunicorn {version('gunicorn')}"
    except PackageNotFoundError:
        installed = "no gunicorn"
    return f"{installed} is installed, which lacks {', '.join(absent)}; the service's worker needs it: install what requirements.txt names"


def _find(path: str) -> object | None:
    """Return what a dotted path names; None when there is no such thing."""
    module, _, rest = path.partition(".")
    try:
        thing: object = importlib.import_module(module)
    except ImportError:
        return None
    for name in rest.split("."):
        module = f"{module}.{name}"
        try:
            thing = getattr(thing, name) if hasattr(thing, name) else importlib.import_module(module)
        except ImportError:
            return None
    return thing
