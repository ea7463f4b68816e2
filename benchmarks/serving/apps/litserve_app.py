"""LitServe, two workers; with BATCH=1 its batching."""

import os
import sys

import joblib
import litserve
import pandas as pd

BATCH = os.environ.get("BATCH") == "1"


class Predictor(litserve.LitAPI):
    """Serves the model."""

    def setup(self, device):
        """Load it."""
        self.model = joblib.load(os.environ["MODEL_PATH"])

    def decode_request(self, request):
        """Take the rows out."""
        return request["instances"]

    def batch(self, inputs):
        """Leave the requests a list of lists of rows."""
        return inputs

    def predict(self, batches):
        """Answer one request, or many."""
        if not BATCH:
            return self.model.predict_proba(pd.DataFrame(batches))[:, 1]
        probabilities = self.model.predict_proba(pd.DataFrame([row for rows in batches for row in rows]))[:, 1]
        ends = pd.Series([len(rows) for rows in batches]).cumsum().tolist()
        return [probabilities[end - len(rows) : end] for rows, end in zip(batches, ends, strict=True)]

    def unbatch(self, output):
        """Hand each request its own."""
        return output

    def encode_response(self, output):
        """Write the answer."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Predictor(max_batch_size=32, batch_timeout=0.002) if BATCH else Predictor()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, num_api_servers=1, log_level="warning")
