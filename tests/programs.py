"""Programs that tests drive: a missing one skips the test by name, or fails it where everything is required."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, *more: str) -> str:
    """The path of a program (the first found of several names). Skips the test, naming it, when there is none.

    Under CADUCEE_REQUIRE_ALL=1 the test fails instead.
    """
    for name in (program, *more):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
        if found:
            return found
    missing = f"needs the program {' or '.join((program, *more))}"
    if os.environ.get("CADUCEE_REQUIRE_ALL") == "1":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
