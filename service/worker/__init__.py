"""The gunicorn worker: sockets to whole requests and back; knows HTTP and time, nothing of models."""
