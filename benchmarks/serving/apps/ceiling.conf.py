"""The service's own configuration, with one route more in its application: `benchmarks.serving.apps.ceiling_app`.

The route gets the scope of a prediction before anything of the service has read the scopes: the worker decides by them, too.
"""

import runpy
from pathlib import Path

import service.web.api_keys

service.web.api_keys.POLICY = {**service.web.api_keys.POLICY, "constant": "predict"}
_ours = runpy.run_path(str(Path(__file__).resolve().parents[3] / "service" / "gunicorn.conf.py"))
globals().update({name: value for name, value in _ours.items() if not name.startswith("_")})

wsgi_app = "benchmarks.serving.apps.ceiling_app:with_constant()"
