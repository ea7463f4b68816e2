"""From the outbox to the receivers, by the one monitor that leads; nothing of the loop waits for it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from monitoring.errors import DeliveryError, InputError
from monitoring.journal.leases import Turn
from monitoring.journal.outbox import Package, StoredMessage, StoredOutbox
from monitoring.metrics import MonitorMetrics
from monitoring.notifying import mail, webhook
from monitoring.notifying.payloads import body
from monitoring.settings import MonitoringSettings
from training.clock import from_us, to_us

logger = logging.getLogger(__name__)
Send = Callable[[Package, datetime], None]
WEBHOOK, MAIL = "webhook", "mail"


def channels(settings: MonitoringSettings) -> dict[str, Send]:
    """Return how packages are sent, by destination; each raises DeliveryError where it cannot be known to have arrived."""
    ways: dict[str, Send] = {}
    hook, letters = settings.webhook, settings.mail
    if hook is not None:
        ways[WEBHOOK] = lambda package, now: webhook.post(hook, package.id, body(package), int(now.timestamp()))
    if letters is not None:
        ways[MAIL] = lambda package, now: mail.send(letters, mail.compose(letters, package, to_us(now)))
    return ways


def try_out(settings: MonitoringSettings, now: datetime) -> list[dict[str, str]]:
    """Send a message to each destination, past the outbox; return what came of it.

    Raises
    ------
    InputError
        There is no destination.
    """
    places = {WEBHOOK: settings.webhook, MAIL: settings.mail}
    message_id = f"msg_{secrets.token_hex(16)}"
    content = {"summary": "a test: messages of Evergreen arrive here", "done": "nothing happened", "next": []}
    package = Package(message_id, (StoredMessage(message_id, "", "test", to_us(now), content),), 1)
    outcomes = []
    for destination, send in channels(settings).items():
        place = places[destination]
        outcome = _outcome(send, package, now) or "delivered"
        outcomes.append({"destination": destination, "where": "" if place is None else place.where, "outcome": outcome})
    if not outcomes:
        raise InputError("nobody is told: set EVERGREEN_WEBHOOK_URL and EVERGREEN_WEBHOOK_SECRET, or EVERGREEN_MAIL_TO (docs/settings.md)")
    return outcomes


def messages_of(outbox: StoredOutbox, model: str | None, limit: int) -> list[dict[str, Any]]:
    """List the last messages, of one model or of all, the newest first."""
    return [
        {
            "at": from_us(one.created_us),
            "id": one.message_id,
            "model": one.model,
            "type": one.type,
            "summary": one.content["summary"],
            "deliveries": "; ".join(f"{name} {state}" for name, state in states.items()) or "to nobody",
            "content": one.content,
        }
        for one, states in outbox.last(model, limit)
    ]


def _outcome(send: Send, package: Package, now: datetime) -> str | None:
    """Send once; return what went wrong."""
    try:
        send(package, now)
    except DeliveryError as failure:
        return str(failure)
    return None


class Delivery:
    """Send what waits, again and again until it has arrived.

    Parameters
    ----------
    channels
        As `channels` returns them.
    turn_of
        The turn of now, of the monitor that leads; None in any other.
    """

    def __init__(
        self, outbox: StoredOutbox, channels: Mapping[str, Send], turn_of: Callable[[], Turn | None], metrics: MonitorMetrics
    ) -> None:
        self._outbox = outbox
        self._channels = channels
        self._turn_of = turn_of
        self._metrics = metrics

    def run_once(self) -> None:
        """Send to each destination until nothing is due there, or it fails: then it has to wait longer each time.

        What was sent and could not be settled, since the monitor died or leads no more, is sent again by whoever leads, under the same id.

        Raises
        ------
        LeaseLostError, DatabaseUnavailableError
            The next call goes on.
        """
        turn = self._turn_of()
        if turn is None:
            return
        self._outbox.route(turn, tuple(self._channels))
        for destination, send in self._channels.items():
            while (turn := self._turn_of()) is not None:
                package = self._outbox.claim(turn, destination)
                if package is None or not self._deliver(destination, send, package, turn):
                    break

    def forget(self) -> None:
        """Forget what was sent long ago, and count what never arrived."""
        turn = self._turn_of()
        for destination, n in ({} if turn is None else self._outbox.forget(turn)).items():
            self._metrics.message_deliveries_total.labels(destination, "expired").inc(n)
            logger.error("%d messages to %s could not be delivered in 30 days and are dropped", n, destination)

    def _deliver(self, destination: str, send: Send, package: Package, turn: Turn) -> bool:
        error = _outcome(send, package, turn.now)
        if error is not None:
            logger.warning("%s: %s was not delivered (attempt %d): %s", destination, package.id, package.attempts, error)
        self._metrics.message_deliveries_total.labels(destination, "delivered" if error is None else "failed").inc()
        self._outbox.settle(turn, destination, package, error)
        return error is None
