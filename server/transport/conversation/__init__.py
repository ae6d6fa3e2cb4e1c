"""Whom a patient may write to: those who wrote first (référentiel MSSanté, ENS v1.3 §9)."""
