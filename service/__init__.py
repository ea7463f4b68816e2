"""The HTTP process: rows in, predictions out, every answer on disk before it leaves.

Knows nothing of schedules or judgement. Start it with ``python -m service``.
"""
