"""How gunicorn runs the service: `python -m service` starts it with this file.

Models, threads and database connections are made in the workers, after the fork; one arithmetic thread each.
"""

import gc
import os
import resource

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from pathlib import Path  # noqa: E402

from service.logs import configuration  # noqa: E402
from service.settings import from_environment  # noqa: E402

_settings = from_environment(os.environ)
_metrics = _settings.home.ensure().metrics / f"service-{_settings.port}"
_metrics.mkdir(mode=0o700, exist_ok=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)

from service.folding import forget_worker, start_anew  # noqa: E402 - prometheus_client looks at the variable when imported

wsgi_app = "service.app:from_gunicorn()"
bind = [_settings.bind]
workers = _settings.workers + 1  # one of them drains the spool of all, see service.worker
threads = _settings.threads
worker_class = "service.worker.Worker"
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
preload_app = False
control_socket_disable = True
graceful_timeout = 10
timeout = int(_settings.deadline_seconds) + 5  # for a hang that lets no thread run; the worker sees all others
keepalive = 75
max_requests = 0
worker_connections = max(16, min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100))
accesslog = None
errorlog = "-"
logconfig_dict = configuration(_settings.log_level)
proc_name = "evergreen-service"


def on_starting(server):
    """Start with no metrics of an earlier run, and with what all workers need in memory that they share.

    Nothing of it starts a thread or computes: models are made in the workers, after the fork.
    """
    from training.borrowed import boosting_walk, expit

    start_anew(_metrics)
    boosting_walk()
    expit()
    gc.collect()
    gc.freeze()


def post_fork(server, worker):
    """Tell the worker where the lock is that makes one of them the drain."""
    worker.drain_lock_path = _metrics / "drain.lock"


def post_worker_init(worker):
    """Load the champions and start the background threads, in the worker, before its first request."""
    from threadpoolctl import threadpool_limits

    from service.app import service_of

    if worker.is_drain:
        return
    threadpool_limits(limits=1)
    service_of(worker.wsgi).start()


def worker_exit(server, worker):
    """Bring what is in the spool into the log before the worker goes."""
    from service.app import service_of

    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        service_of(wsgi).stop()


def child_exit(server, worker):
    """Fold what a worker has counted into one file, now that it is gone, however it went."""
    forget_worker(worker.pid, _metrics)
