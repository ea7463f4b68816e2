"""Processes of their own for tests in which several do something at once: forked by one that has imported what they need."""

from multiprocessing import get_context

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["hypothesis", "pytest", "monitoring.journal.journal", "training.registry.registry"])
