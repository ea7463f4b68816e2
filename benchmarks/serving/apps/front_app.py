"""A bare Flask application with a route that returns a constant, and one that reads what was sent first."""

from flask import Flask, Response, request

ANSWER = (
    b'{"model":"bench","predictions":[{"id":"06gvmpr3ks8ljg3ts800000000003okcdo1ai-0","label":"yes","probabilities":{"no":0.4,"yes":0.6}}]}'
)


class BareFlask(Flask):
    """Flask with what `service.worker.Worker` asks of an application: everything is answered in the loop, Flask finds the route."""

    def route_of(self, environ):
        """Leave the route to Flask."""

    def is_light(self, environ, n_bytes):
        """Whether it may be answered in the loop: always."""
        return True


app = BareFlask(__name__, static_folder=None)
app.config.update(MAX_CONTENT_LENGTH=64 << 20, MOST_IN_FLIGHT=1_000, MOST_HELD_BYTES=256 << 20, DEADLINE_SECONDS=60.0)


@app.post("/constant")
def constant() -> Response:
    """Answer what never changes."""
    return Response(ANSWER, mimetype="application/json")


@app.post("/read")
def read() -> Response:
    """Read the body, then answer what never changes."""
    request.get_data()
    return constant()
