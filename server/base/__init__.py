"""What every room stands on: clock, errors, limits, settings, logs, TLS; imports nothing of server."""
