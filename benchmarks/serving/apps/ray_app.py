"""Ray Serve: two replicas, one proxy; with BATCH=1 its batching."""

import os
import sys
import tempfile
import time

import joblib
import pandas as pd
import ray
from ray import serve
from starlette.requests import Request

BATCH = os.environ.get("BATCH") == "1"


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=100)
class Predictor:
    """Serves the model."""

    def __init__(self, path: str) -> None:
        self.model = joblib.load(path)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def many(self, batches):
        """Answer many requests at once."""
        probabilities = self.model.predict_proba(pd.DataFrame([row for rows in batches for row in rows]))[:, 1].tolist()
        answers = iter(probabilities)
        return [[next(answers) for _ in rows] for rows in batches]

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answer one request."""
        rows = (await request.json())["instances"]
        if BATCH:
            return {"predictions": await self.many(rows)}
        return {"predictions": self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()}


if __name__ == "__main__":
    # Sockets have short names: the folder must be near the root.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    quiet = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
    ray.init(num_cpus=2, object_store_memory=200_000_000, _temp_dir=folder, **quiet)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Predictor.bind(os.environ["MODEL_PATH"]), route_prefix="/predict", name="bench")
    while True:
        time.sleep(60)
