"""How gunicorn runs the service: `python -m service` starts it with this file.

Models, threads and database connections are made in the workers, after the fork; one arithmetic thread each.
"""

import os
import threading
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from pathlib import Path  # noqa: E402

from service.logs import configuration  # noqa: E402
from service.settings import from_environment  # noqa: E402

_settings = from_environment(os.environ)
_metrics = _settings.home.ensure().metrics / f"service-{_settings.port}"
_metrics.mkdir(mode=0o700, exist_ok=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)

wsgi_app = "service.app:from_gunicorn()"
bind = [_settings.bind]
workers = _settings.workers
threads = _settings.threads
worker_class = "gthread"
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
preload_app = False
control_socket_disable = True
graceful_timeout = 10
timeout = 60
keepalive = 75
max_requests = 0
accesslog = None
errorlog = "-"
logconfig_dict = configuration(_settings.log_level)
proc_name = "evergreen-service"


def on_starting(server):
    """Start with no metrics of an earlier run."""
    for path in _metrics.glob("*.db"):
        path.unlink(missing_ok=True)


def post_worker_init(worker):
    """Load the champions and start the background threads, in the worker, before its first request."""
    from threadpoolctl import threadpool_limits

    from service.app import service_of

    threadpool_limits(limits=1)
    service_of(worker.wsgi).start()
    threading.Thread(target=_leave_with, args=(worker.ppid,), name="parent", daemon=True).start()


def _leave_with(parent):
    """Free the port soon after the master was killed; what was acknowledged is in the spool.

    gunicorn's own way waits for idle keep-alive connections, `graceful_timeout` long, and accepts nothing meanwhile.
    """
    while os.getppid() == parent:
        time.sleep(0.2)
    time.sleep(1.0)
    os._exit(0)


def worker_exit(server, worker):
    """Bring what is in the spool into the log before the worker goes."""
    from service.app import service_of

    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        service_of(wsgi).stop()


def child_exit(server, worker):
    """Forget the live gauges of a worker that is gone, however it went."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)
