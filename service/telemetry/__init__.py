"""What operators see: metrics of all workers, log lines, traces, memory."""
