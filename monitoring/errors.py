"""Every exception of the watching process and the command line.

::

    MonitoringError
    ├── LeaseLostError          another monitor acts; nothing was done
    ├── RunEndedError           the run ended already, or was abandoned; nothing was written
    ├── BackupError             a backup cannot be made or brought back
    ├── ProcessError            a process does not start, is not ready, or keeps dying
    ├── ApiKeyError             a key cannot be made or revoked
    ├── InputError              a file or value given to the command line cannot be used
    ├── DeliveryError           a message was not delivered; whether it arrived may not be known
    ├── MonitorRequestError     the monitor was asked for something and cannot or does not answer
    └── ReplayError             a replayed row was refused, or what was waited for did not happen
"""

from __future__ import annotations


class MonitoringError(Exception):
    """Root of all errors of this package: a sentence a person can act on."""


class LeaseLostError(MonitoringError):
    """The lease is held by somebody else by now, so nothing was done."""


class RunEndedError(MonitoringError):
    """The run ended already, was abandoned, or never was; nothing was written."""


class BackupError(MonitoringError):
    """A backup cannot be made or brought back."""


class ProcessError(MonitoringError):
    """A process of ours does not start, is not ready in time, or keeps dying."""


class ApiKeyError(MonitoringError):
    """A key cannot be made or revoked."""


class InputError(MonitoringError):
    """A file or a value that was given to the command line cannot be used; the message names it."""


class ReplayError(MonitoringError):
    """The service refused what was replayed, or what was waited for did not happen in time."""


class MonitorRequestError(MonitoringError):
    """The monitor was asked for something and cannot, or does not, answer."""


class DeliveryError(MonitoringError):
    """A message was not delivered, as far as is known; the sentence names no secret."""
