"""Certificates: issuing by profile, and validation of a path to the configured anchors."""
