"""How gunicorn runs the service: `python -m service` starts it with this file.

Models, threads and database connections are made in the workers, after the fork; one arithmetic thread each.
"""

import gc
import os
import resource
import sys
from contextlib import suppress

gc.disable()  # until all is imported: there is nothing to collect before, and looking for it takes a tenth of the start

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# The working directory, unless the path has it elsewhere: gunicorn puts it first whatever Python was told, and a `service.py` or a
# `numpy.py` in it would be imported. It does so once more after this file, if the path does not have it: last, where it stands until
# all is configured, it hides nothing. Our own folder goes before it: where we are installed to be edited, we are looked for after the path.
_first = sys.path[0]
_is_working_directory = os.path.realpath(_first) == os.path.realpath(os.curdir)
if sys.flags.safe_path and _is_working_directory and _first not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    del sys.path[0]
    _ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path += [*([] if _ours in sys.path else [_ours]), _first]
    _until_configured = _first
else:
    _until_configured = None

from pathlib import Path  # noqa: E402

from gunicorn.errors import HaltServer  # noqa: E402

from service.errors import SettingsError  # noqa: E402
from service.models.load_attempts import LoadAttempts  # noqa: E402
from service.settings import from_environment  # noqa: E402
from service.telemetry.json_logs import configuration  # noqa: E402

_settings = from_environment(os.environ)
_metrics = _settings.metrics_home
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)
if _settings.keys_file is not None:
    os.environ["EVERGREEN_KEYS_FILE"] = str(_settings.keys_file)  # a worker born after the file was deleted must not open the service
_attempts = LoadAttempts(_settings.home.loading)
EXIT_HOPELESS = 3

from service.telemetry import multiprocess  # noqa: E402 - prometheus_client looks at the variable when imported
from service.telemetry.counts_file import own_folder  # noqa: E402
from service.worker.booting import Boots  # noqa: E402

wsgi_app = "service.app:from_gunicorn()"
bind = [_settings.bind]
workers = _settings.workers + (_settings.front == "evergreen")  # one of ours drains the spool of all, see service.worker.worker
threads = _settings.threads
worker_class = {"evergreen": "service.worker.worker.Worker", "gthread": "gthread"}[_settings.front]
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
preload_app = False
control_socket_disable = True
graceful_timeout = 10
timeout = int(_settings.deadline_seconds) + 5  # for a hang that lets no thread run; the worker sees all others
keepalive = 75
max_requests = 0
http_parser = "python"  # also where gunicorn's C parser is installed: what is tested is what runs
header_map = "drop"
forwarder_headers = ""  # nobody sets SCRIPT_NAME or PATH_INFO by a header, also no proxy on this machine
worker_connections = max(16, min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100))
accesslog = None
errorlog = "-"
logconfig_dict = configuration(_settings.log_level)
proc_name = "evergreen-service"


def leave_working_directory():
    """Take the working directory from the path, which gunicorn has looked at for the last time."""
    if _until_configured is not None and sys.path[-1] == _until_configured:
        del sys.path[-1]


def on_reload(server):
    """Leave the working directory out of the path again: this file was read anew."""
    leave_working_directory()


def on_starting(server):
    """Start with no metrics of an earlier run, and with what all workers need in memory that they share.

    gunicorn ends with its first worker that leaves with one of two exit codes, which a model may choose too: with our workers, which
    try again by themselves, no code does.
    Nothing of it starts a thread or computes: models are made in the workers, after the fork.
    """
    leave_working_directory()
    import service.app  # noqa: F401 - what every worker imports, once and shared
    from service.web.last_keys import forget_keys
    from training.compiled.sklearn_kernels import boosting_walk, expit

    if _settings.front == "evergreen":
        server.WORKER_BOOT_ERROR = server.APP_LOAD_ERROR = -1
    server.boots = Boots(workers)
    _settings.home.ensure()
    multiprocess.start_anew(own_folder(_metrics))
    forget_keys(_metrics)
    boosting_walk()
    expit()
    gc.enable()
    gc.collect()
    gc.freeze()


def pre_fork(server, worker):
    """Return the worker a slot for its metrics: the lowest that no living one has."""
    with suppress(SettingsError):
        own_folder(_metrics)  # somebody may have removed it
    worker.boots = server.boots
    worker.metrics_slot = multiprocess.lowest_free({living.metrics_slot for living in server.WORKERS.values()})
    worker.metrics_name = multiprocess.slot_name(server.pid, worker.metrics_slot)
    multiprocess.prepare_slot(_metrics, worker.metrics_name)


def draining():
    """Drain for all workers while the context is open."""
    from service import app

    return app.draining()


def post_fork(server, worker):
    """Let the worker count in the files of its slot; give it the lock that makes one of them the drain, and what that one does."""
    _attempts.forget_process(worker.pid)
    multiprocess.use_slot(_metrics, worker.metrics_name)
    worker.drain_lock_path = _settings.home.spool / "drain.lock"
    worker.draining = draining


def post_worker_init(worker):
    """Load the champions and start the background threads, in the worker, before its first request."""
    from threadpoolctl import threadpool_limits

    from service.app import service_of
    from service.telemetry.memory import keep_freed

    if getattr(worker, "is_drain", False):
        return
    if _settings.front == "gthread":
        from service.worker.drain_thread import DrainThread

        worker.drain_thread = DrainThread(worker.drain_lock_path, draining)
        worker.drain_thread.start()

    def is_wanted():
        worker.tmp.notify()  # many models, or one that hangs, may take longer than the master waits for one that serves
        return worker.alive

    threadpool_limits(limits=1)
    service_of(worker.wsgi).start(is_wanted=is_wanted)
    keep_freed()


def worker_abort(worker):
    """Note on which version the worker hung, if it did on one, before it leaves."""
    _attempts.note_death(worker.pid)


def worker_exit(server, worker):
    """Bring what is in the spool into the log before the worker goes."""
    from service.app import service_of

    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        service_of(wsgi).stop()
    if hasattr(worker, "drain_thread"):
        worker.drain_thread.stop()


def child_exit(server, worker):
    """Forget what a worker showed of itself, however it went; what it has counted stays. Note on which version it died, if on one."""
    _attempts.note_death(worker.pid)
    with suppress(OSError):
        multiprocess.forget_live_gauges(_metrics, worker.metrics_name)
    if server.boots.should_give_up() and server.LISTENERS:  # a master that stops has none
        raise HaltServer("no worker could start", EXIT_HOPELESS)
