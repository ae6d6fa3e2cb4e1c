"""Object identifiers that we speak, each with where it is defined."""

from __future__ import annotations

START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511 §4.14
WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"  # RFC 4532
CANCEL = "1.3.6.1.1.8"  # RFC 3909
NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"  # RFC 4511 §4.4.1
ALL_OPERATIONAL_ATTRIBUTES = "1.3.6.1.4.1.4203.1.5.1"  # RFC 3673: "+" in a search
TRUE_AND_FALSE_FILTERS = "1.3.6.1.4.1.4203.1.5.3"  # RFC 4526: "and" and "or" of nothing
PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696
MANAGE_DSA_IT = "2.16.840.1.113730.3.4.2"  # RFC 3296: there are no referrals here, so it changes nothing
