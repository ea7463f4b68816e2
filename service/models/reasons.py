"""Why a version is refused, in a sentence, whatever was raised."""

from __future__ import annotations

from training.errors import EvergreenError

LONGEST_REASON = 500


def reason_of(error: BaseException) -> str:
    """Return why something was refused: a sentence of ours as it is, what else was raised with its class.

    Examples
    --------
    >>> reason_of(EvergreenError("it is not signed")), reason_of(SystemExit(3)), reason_of(ValueError())
    ('it is not signed', 'SystemExit: 3', 'ValueError')
    """
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - an exception of a model may do anything
        text = ""
    if not isinstance(error, EvergreenError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:LONGEST_REASON].encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is no JSON
