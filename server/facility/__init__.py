"""The edge for facilities' servers: HTTPS with their organisation's certificate, and tokens for their people."""
