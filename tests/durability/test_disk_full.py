"""A disk that is really full: mail gets a temporary answer, nothing accepted is lost, and service resumes by itself."""

from __future__ import annotations

import os
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.test_kill import shown
from tests.programs import need
from tests.serving import DOCTOR, DOMAIN, PHARMACY, Served, caducee

DISK = "400m"
RESUME_SECONDS = 90


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own. Where nobody may mount one, the test is skipped and says so."""
    with tempfile.TemporaryDirectory(prefix="caducee-disk-") as place:
        mounted = subprocess.run(
            [need("mount"), "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", place], capture_output=True
        )
        if mounted.returncode:
            if os.environ.get("CADUCEE_REQUIRE_ALL") == "1" and os.geteuid() == 0:
                pytest.fail(f"cannot mount: {mounted.stderr.decode()}")
            pytest.skip("needs the right to mount a small file system")
        try:
            yield Path(place)
        finally:
            subprocess.run([need("umount"), "--lazy", place], check=True)


def submit(served: Served, number: int) -> int:
    """Send one message of 200 KB; the reply's code, 0 when the connection broke."""
    message = (
        f"From: {DOCTOR}\r\nTo: {PHARMACY}\r\nSubject: {number}\r\nMessage-ID: <{number}@{DOMAIN}>\r\n\r\n"
        + ("x" * 74 + "\r\n") * 2_600
    )
    try:
        with served.submission(DOCTOR) as client:
            client.sendmail(DOCTOR, [PHARMACY], message)
    except smtplib.SMTPDataError as error:
        return error.smtp_code
    except smtplib.SMTPRecipientsRefused as error:
        return next(iter(error.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    except (OSError, smtplib.SMTPException):
        return 0
    return 250


@pytest.mark.timeout(300)
def test_a_full_disk_is_temporary_and_loses_nothing(disk: Path) -> None:
    served = Served(disk / "home")
    served.make()
    served.start()
    try:
        accepted = [0] if submit(served, 0) == 250 else []
        assert accepted
        free = os.statvfs(disk)
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, (free.f_bavail - 256) * free.f_frsize)
        answers = []
        for number in range(1, 400):
            code = submit(served, number)
            answers.append(code)
            if code == 250:
                accepted.append(number)
            elif len([answer for answer in answers if answer != 250]) >= 5:
                break
        refusals = [answer for answer in answers if answer != 250]
        assert refusals, "the disk did not fill"
        assert all(answer == 0 or 400 <= answer < 500 for answer in refusals), refusals
        assert any(answer for answer in refusals), "no refusal was said in words"
        ballast.unlink()
        deadline = time.monotonic() + RESUME_SECONDS
        while submit(served, 1_000) != 250:
            assert time.monotonic() < deadline, "service did not resume"
            time.sleep(0.2)
        served.wait_ready()
        seen = shown(served, PHARMACY)
        assert [number for number in [*accepted, 1_000] if seen[f"<{number}@{DOMAIN}>"] != 1] == []
        caducee("check", home=served.home)
    finally:
        served.stop()
