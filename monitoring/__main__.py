"""`python -m monitoring`: watch. `python -m monitoring retrain-run <run id> <attempt> <token>`: the training child."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from monitoring.app import open_for_run, run_monitor
from monitoring.errors import MonitoringError
from monitoring.journal.tables import Attempt
from monitoring.retraining.training_process import carry_out
from monitoring.settings import from_environment
from service.parent import follow_parent
from training.errors import EvergreenError
from training.own_code import extend_path
from training.settings import code_folder

USAGE = "usage: python -m monitoring [retrain-run RUN_ID ATTEMPT TOKEN]"


def main(arguments: Sequence[str]) -> int:
    """Run one of the two; returns the exit code."""
    follow_parent(os.environ)
    try:
        settings = from_environment(os.environ)
        match list(arguments):
            case []:
                if not os.access(settings.home.ensure().path, os.W_OK | os.X_OK):
                    raise MonitoringError(
                        f"{settings.home.path} cannot be written: what is trained goes there; EVERGREEN_HOME names another home"
                    )
                run_monitor(settings, os.environ)
            case ["retrain-run", run_id, attempt, token] if attempt.isdecimal() and token.isdecimal():
                extend_path(code_folder(os.environ))
                stores = open_for_run(settings)
                try:
                    carry_out(stores, Attempt(run_id, int(attempt), int(token)), clock=lambda: datetime.now(UTC))
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
