"""Every exception of the service.

::

    ServiceError
    ├── SettingsError               the process cannot start like this
    │   └── AddressTakenError       something listens there already
    ├── RequestError                the caller's mistake (4xx)
    │   ├── UnreadableBodyError     not JSON, or not the JSON we read
    │   ├── InvalidRowsError        rows or labels that break the schema, each named
    │   ├── FailedRowsError         rows that fit the schema, and the model fails on them
    │   ├── BodyTooLargeError, TooManyRowsError
    │   ├── UnauthenticatedError, ForbiddenError
    │   ├── RateLimitedError        the key has asked too often (429)
    │   ├── UnsupportedTypeError    a content type that is not taken from a web page (415)
    │   ├── UnknownLabelRequestError
    │   ├── LabelRequestConflictError   a label request of this key was drawn otherwise (409)
    │   ├── NothingToDrawError      no prediction may be drawn (409)
    │   └── UnknownModelError
    ├── UnsupportedError            the protocol has it, this service has not (501)
    └── UnavailableError            ours, and worth a retry (503)
        ├── ModelNotReadyError      no verified champion
        ├── SpoolError              the answer could not be recorded, so it is not given
        │   └── SpoolFullError
        ├── OverloadedError         too many requests are in flight
        ├── LogFullError            the prediction log has reached its bound
        └── LogUnavailableError     the prediction log cannot be reached

`service.web.responses` holds the one table from exception to status and code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong value: where it stands, what came, what was wanted."""

    row: int | None
    field: str
    code: str
    got: str
    want: str

    def to_dict(self) -> dict[str, object]:
        """Return the form of the error body."""
        return {"row": self.row, "field": self.field, "code": self.code, "got": self.got, "want": self.want}


class ServiceError(Exception):
    """Root of all errors of this package."""


class SettingsError(ServiceError):
    """A setting is missing or wrong; the message says which and what is allowed."""


class AddressTakenError(SettingsError):
    """Something listens on the address already."""


class RequestError(ServiceError):
    """The request is wrong; sending it again unchanged will not help."""


class UnreadableBodyError(RequestError):
    """The body is not the JSON this endpoint reads."""


class InvalidRowsError(RequestError):
    """Values break the schema.

    Parameters
    ----------
    problems
        The first problems found, at most `service.columns.explaining.MAX_LISTED`.
    total
        How many there are in all.
    counts
        How many by (field, code).
    """

    def __init__(self, problems: Sequence[Problem], total: int, counts: Mapping[tuple[str, str], int] | None = None) -> None:
        self.problems = tuple(problems)
        self.total = total
        self.counts = dict(counts or {})
        super().__init__(_sentence(self.problems, total))


class FailedRowsError(RequestError):
    """The rows fit the schema, but the model raises on some of them, or answers what is no answer.

    It is the request's error and not the service's: a model answers what it can, sent again the same rows fail again, and
    without them the others are answered.

    Parameters
    ----------
    failures
        For each of the first failed rows the name of what the model raised. The message of that stays in the log: it may
        tell of the inside of the service.
    total
        How many there are in all; None: as many as are named.
    is_all
        Whether all of them were looked for.
    reason
        The name of what the model raised on all rows together, where no row is to be named.

    Examples
    --------
    >>> print(FailedRowsError({2: "ZeroDivisionError"}))
    row 2: the model fails on it (ZeroDivisionError), though it fits the schema
    """

    def __init__(self, failures: Mapping[int, str], *, total: int | None = None, is_all: bool = True, reason: str | None = None) -> None:
        self.problems = tuple(Problem(row, "", "failed", got, "a row that the model can answer") for row, got in failures.items())
        self.total = len(self.problems) if total is None else total
        super().__init__(_failure(self.problems, self.total, is_all, reason))


class BodyTooLargeError(RequestError):
    """The body is larger than the limit."""


class TooManyRowsError(RequestError):
    """More rows in one request than the limit."""


class UnauthenticatedError(RequestError):
    """No key, or one we do not know."""


class ForbiddenError(RequestError):
    """A known key without the scope or the model asked for."""


class RateLimitedError(RequestError):
    """The key has asked more often than it may.

    Parameters
    ----------
    wait_seconds
        When the next request would pass.
    """

    def __init__(self, message: str, wait_seconds: float) -> None:
        self.retry_after_seconds = max(1, math.ceil(wait_seconds))
        super().__init__(f"{message}; try again in {self.retry_after_seconds} s")


class UnsupportedTypeError(RequestError):
    """A content type that is not taken from whoever sends it."""


class UnknownModelError(RequestError):
    """No such model here."""


class UnknownLabelRequestError(RequestError):
    """No label request of this key was drawn."""


class LabelRequestConflictError(RequestError):
    """A label request of this key was drawn already, and was asked for otherwise."""


class NothingToDrawError(RequestError):
    """There is no prediction that a label request could draw."""


class UnsupportedError(ServiceError):
    """The protocol knows such a request, but this service does not do it."""


class UnavailableError(ServiceError):
    """Not now: the caller should try again after `retry_after_seconds`."""

    retry_after_seconds = 1


class ModelNotReadyError(UnavailableError):
    """The model is known but no verified champion could be loaded; the message says why."""

    retry_after_seconds = 2


class OverloadedError(UnavailableError):
    """As many requests are in flight here as may be."""


class SpoolError(UnavailableError):
    """The prediction could not be recorded, so it is not acknowledged."""


class SpoolFullError(SpoolError):
    """The spool has reached its bound because the prediction log cannot keep up."""

    retry_after_seconds = 5


class LogFullError(UnavailableError):
    """The prediction log has reached its bound; retention or a larger bound must make room."""

    retry_after_seconds = 60


class LogUnavailableError(UnavailableError):
    """The prediction log cannot be reached or is locked."""


def _sentence(problems: Sequence[Problem], total: int) -> str:
    if not problems:
        return "the rows break the schema"
    first = problems[0]
    where = f"row {first.row}, " if first.row is not None else ""
    more = "" if total == 1 else f" (and {total - 1} more)"
    return f"{where}field {first.field!r}: got {first.got}, want {first.want}{more}"


def _failure(problems: Sequence[Problem], total: int, is_all: bool, reason: str | None) -> str:
    if not problems:
        alone = f" ({reason})" if reason else ", though on none of them alone"
        return f"the model fails on these rows together{alone}; they fit the schema"
    first, others = problems[0], total - 1
    more = "" if is_all else " at least" if others else "; there may be others"
    also = f" (and on {others} more{more})" if others else more
    return f"row {first.row}: the model fails on it ({first.got}), though it fits the schema{also}"
