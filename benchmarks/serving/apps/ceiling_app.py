"""Evergreen's own application with one route more, which returns a constant: same hooks, same path to it, same worker."""

from flask import Flask, Response

from benchmarks.serving.apps.front_app import ANSWER
from service.app import from_gunicorn


def with_constant() -> Flask:
    """Make the application of a gunicorn worker; `ceiling.conf.py` has given the route its scope."""
    app = from_gunicorn()
    app.add_url_rule("/models/<model>/constant", "constant", lambda model: Response(ANSWER, mimetype="application/json"), methods=["POST"])
    return app
