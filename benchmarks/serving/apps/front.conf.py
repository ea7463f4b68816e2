"""The service's own configuration, with a bare application in it and the worker class that ``$FRONT_WORKER`` names.

The application is served by two processes in any case: our worker class may want one more that does not serve.
"""

import os
import runpy
from pathlib import Path

_apps = Path(__file__).resolve().parent
_ours = runpy.run_path(str(_apps.parents[2] / "service" / "gunicorn.conf.py"))
globals().update({name: value for name, value in _ours.items() if not name.startswith("_")})

wsgi_app = "front_app:app"
pythonpath = str(_apps)
worker_class = os.environ["FRONT_WORKER"]
if worker_class != _ours["worker_class"]:
    workers = 2


def post_worker_init(worker):
    """Start nothing."""


def worker_exit(server, worker):
    """Stop nothing."""
