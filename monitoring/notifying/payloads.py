"""What is sent, as JSON for programs and as text for people: the same facts (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monitoring.journal.outbox import Package, StoredMessage
from training.clock import from_us
from training.json_text import to_bytes

DIGEST = "digest"


def body(package: Package) -> bytes:
    """Return the JSON of a package, as Standard Webhooks wants it: type, timestamp, data.

    Examples
    --------
    >>> message = StoredMessage("msg_1", "rain", "model.promoted", 0, {"summary": "rain: b is the champion now"})
    >>> body(Package("msg_1", (message,), 1))
    b'{"data":{"summary":"rain: b is the champion now"},"timestamp":"1970-01-01T00:00:00+00:00","type":"model.promoted"}'
    """
    if len(package.messages) == 1:
        return to_bytes(_event(package.messages[0]))
    model = package.messages[0].model
    listed = [{"id": one.message_id, **_event(one)} for one in package.messages]
    data = {"model": model, "summary": subject(package), "messages": listed}
    return to_bytes({"type": DIGEST, "timestamp": _event(package.messages[-1])["timestamp"], "data": data})


def _event(message: StoredMessage) -> dict[str, Any]:
    return {"type": message.type, "timestamp": from_us(message.created_us).isoformat(), "data": dict(message.content)}


def subject(package: Package) -> str:
    """Return a package in one line."""
    first, *others = package.messages
    return str(first.content["summary"]) + (f", and {len(others)} more" if others else "")


def text(package: Package) -> str:
    """Return a package for people: of each message what happened, since when, why, what was done, what to do next."""
    return "\n\n".join("\n".join(_lines(one.content)) for one in package.messages) + "\n"


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    yield str(content["summary"])
    span = " until ".join(_minute(content[name]) for name in ("since", "until") if content.get(name))
    if span:
        yield f"  since: {span} (model time)"
    yield from (f"  why: {line}" for line in content.get("evidence", ()))
    if content.get("done"):
        yield f"  done: {content['done']}"
    yield from (f"  next: {line}" for line in content.get("next", ()))


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
