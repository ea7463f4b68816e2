"""Where rows come from when it is no file on this machine: addresses, queries, and what must not stand in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

_IN_FRONT = re.compile(r"[^:/]+://[^/@:]*:[^@]+@")
_AS_PARAMETER = re.compile(r"[?&](password|passwd|pwd|sslpassword)=", re.IGNORECASE)
_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Query:
    """A question to a database, whose answer is a table.

    Attributes
    ----------
    sql
        The question: one SELECT.
    url
        The address of the database, without a password.
    password
        What the database asks for; it comes from the environment and never from a model file.
    """

    sql: str
    url: str
    password: str | None = field(default=None, repr=False, compare=False)

    def with_password(self, password: str | None) -> Self:
        """Return the same question with a password."""
        return replace(self, password=password)

    def beside(self, folder: Path) -> Self:
        """Return the same question; a SQLite file that is not named by an absolute path lies in `folder`.

        Examples
        --------
        >>> Query("SELECT 1", "sqlite:///rides.db").beside(Path("/srv")).url
        'sqlite:////srv/rides.db'
        """
        if not self.url.startswith(_SQLITE):
            return self
        return replace(self, url=_SQLITE + str((folder / self.url.removeprefix(_SQLITE)).absolute()))

    def __str__(self) -> str:
        return self.url


def has_password(address: str) -> bool:
    """Return whether an address names a password, in front of ``@`` or as a parameter.

    Examples
    --------
    >>> has_password("postgresql://me:secret@host/db"), has_password("postgresql://host/db?password=secret"), has_password("s3://me@host")
    (True, True, False)
    """
    return _IN_FRONT.match(address) is not None or _AS_PARAMETER.search(address) is not None
