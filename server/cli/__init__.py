"""The command line, `caducee …`."""
