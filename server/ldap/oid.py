"""Object identifiers that we speak, each with where it is defined."""

from __future__ import annotations

START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511 §4.14
NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"  # RFC 4511 §4.4.1
ALL_OPERATIONAL_ATTRIBUTES = "1.3.6.1.4.1.4203.1.5.1"  # RFC 3673: "+" in a search
