"""A bare Flask application with a route that returns a constant, and one that reads what was sent first."""

from flask import Flask, Response, request

from service.worker.protocol import WorkerLimits

ANSWER = (
    b'{"model":"bench","predictions":[{"id":"06gvmpr3ks8ljg3ts800000000003okcdo1ai-0","label":"yes","probabilities":{"no":0.4,"yes":0.6}}]}'
)


class BareFlask(Flask):
    """Flask with what `service.worker.protocol` asks of an application: everything is answered in the loop, Flask finds the route."""

    worker_limits = WorkerLimits(max_body_bytes=64 << 20, max_in_flight=1_000, max_held_bytes=256 << 20, deadline_seconds=60.0)

    def add_route(self, environ):
        """Leave the route to Flask."""

    def add_body(self, environ, body):
        """Leave the body to Flask, which finds it where PEP 3333 says."""

    def add_overload(self, environ):
        """Answer nevertheless."""

    def is_light(self, environ, n_bytes):
        """Return whether it may be answered in the loop: always."""
        return True

    def note_deadline(self, environ):
        """Count nothing."""

    def error_body(self, status, code, text):
        """Return the code in an object."""
        return b'{"code":"%b"}' % code.encode()


app = BareFlask(__name__, static_folder=None)


@app.post("/constant")
def constant() -> Response:
    """Answer what never changes."""
    return Response(ANSWER, mimetype="application/json")


@app.post("/read")
def read() -> Response:
    """Read the body, then answer what never changes."""
    request.get_data()
    return constant()
