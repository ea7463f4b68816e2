"""What MLflow's `ScoringServerClient` gets: run in an environment of its own, with our address and rows as JSON."""

import json
import sys

import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port = sys.argv[1].removeprefix("http://").split(":")
rows = json.loads(sys.argv[2])
client = ScoringServerClient(host, int(port))
client.wait_server_ready(timeout=240)
table = pd.DataFrame(rows)
result = {
    "up": [client.ping() is None, bool(client.get_version())],
    "frame": json.loads(client.invoke(table).to_json())["predictions"],
    "missing": len(json.loads(client.invoke(table.assign(temp=float("nan"))).to_json())["predictions"]),
    "lists": json.loads(client.invoke([list(row.values()) for row in rows]).to_json())["predictions"],
}
try:
    client.invoke(table.assign(temp=99.0))
except Exception as error:  # noqa: BLE001
    result["error"] = str(error)
sys.stdout.write(json.dumps(result) + "\n")
