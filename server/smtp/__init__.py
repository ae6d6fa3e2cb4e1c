"""The SMTP edges: relay between operators and submission by practice software."""
