"""What the proxy tells its operator: log lines and metrics."""
