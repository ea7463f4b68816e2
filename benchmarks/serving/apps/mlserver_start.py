"""mlserver_start.py FOLDER MODEL_PATH PORT [batch]: write MLServer's two settings files, then become MLServer."""

import json
import os
import sys
from pathlib import Path

folder, port, is_batching = Path(sys.argv[1]), int(sys.argv[3]), sys.argv[4:] == ["batch"]
folder.mkdir(parents=True, exist_ok=True)
ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
(folder / "settings.json").write_text(json.dumps({"debug": False, "parallel_workers": 2, "host": "127.0.0.1", **ports}))
model = {"name": "bench", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": sys.argv[2], "version": "v1"}}
batching = {"max_batch_size": 32, "max_batch_time": 0.002} if is_batching else {}
(folder / "model-settings.json").write_text(json.dumps({**model, **batching}))
os.chdir(folder)
server = str(Path(sys.executable).with_name("mlserver"))
os.execv(server, [server, "start", "."])
