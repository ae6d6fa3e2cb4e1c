"""The trust space: who may speak for which domain."""
