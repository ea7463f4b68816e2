"""`python -m monitoring`: watch. `python -m monitoring retrain-run <run id>`: the training child."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from monitoring.app import open_for_run, run_monitor
from monitoring.child import carry_out
from monitoring.errors import MonitoringError
from monitoring.settings import from_environment
from training.errors import EvergreenError

USAGE = "usage: python -m monitoring [retrain-run RUN_ID]"


def main(arguments: Sequence[str]) -> int:
    """Run one of the two; returns the exit code."""
    try:
        settings = from_environment(os.environ)
        match list(arguments):
            case []:
                run_monitor(settings, os.environ)
            case ["retrain-run", run_id]:
                stores = open_for_run(settings)
                try:
                    carry_out(stores, run_id, clock=lambda: datetime.now(UTC))
                finally:
                    stores.close()
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except (EvergreenError, MonitoringError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
