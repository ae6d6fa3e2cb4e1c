"""Passkeys as WebAuthn Level 3 has them, sans-IO over the `webauthn` library: options, and what comes back.

Rules:
- A challenge is made for one browser and one purpose, for a few minutes, and proves itself: nothing is kept until it
  is answered. That it is answered once is the database's to say (§13.4.3).
- Whoever holds the authenticator proved it there: user verification is required (§7.1 step 15, §7.2 step 17).
- We ask for no attestation (§13.4.4): which make of authenticator a patient owns is none of our business.
- What the library cannot read is no credential, whatever it raises.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from crypto.edge import EdgeKeys
from server.base.limits import CHALLENGE_SECONDS, PASSKEY_RESPONSE_CHARACTERS
from server.identity.local.seal import keyed

_RANDOM = 16  # bytes: §13.4.3 asks for at least these
_MOMENT = 8
_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]


class NoCredential(Exception):
    """What came is not what was asked for; the reason is nobody's but ours, for a test."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ceremony takes place. `rp_id` is the domain that passkeys are for, `origin` that of the page; `browser`
    the secret that this browser holds, and `purpose` what is asked."""

    rp_id: str
    origin: str
    browser: str = field(repr=False)
    purpose: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A passkey that was just made."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    counter: int


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer says of itself, not yet proven: which credential, whose handle, which challenge."""

    credential_id: bytes
    handle: bytes
    challenge: bytes


def challenge(edge: EdgeKeys, place: Place, moment: datetime) -> bytes:
    """A challenge for this place, good for CHALLENGE_SECONDS."""
    head = int(moment.timestamp()).to_bytes(_MOMENT, "big") + secrets.token_bytes(_RANDOM)
    return head + _proof(edge, place, head)


def is_ours(edge: EdgeKeys, place: Place, given: bytes, moment: datetime) -> bool:
    """Whether a challenge was made for this place, and not too long ago."""
    head, proof = given[: _MOMENT + _RANDOM], given[_MOMENT + _RANDOM :]
    age = int(moment.timestamp()) - int.from_bytes(head[:_MOMENT], "big")
    return hmac.compare_digest(proof, _proof(edge, place, head)) and 0 <= age <= CHALLENGE_SECONDS


def handle_of(edge: EdgeKeys, owner_id: int) -> bytes:
    """The user handle of a mailbox (§6.1: it names nobody)."""
    return keyed(edge, "user handle", owner_id)


def creation_options(place: Place, challenge: bytes, handle: bytes, name: str, issuer: str, known: list[bytes]) -> str:
    """What a browser needs to make a passkey, as JSON; `known` are the credentials that the holder has already."""
    options = generate_registration_options(
        rp_id=place.rp_id,
        rp_name=issuer,
        user_id=handle,
        user_name=name,
        user_display_name=name,
        challenge=challenge,
        timeout=CHALLENGE_SECONDS * 1000,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
        supported_pub_key_algs=_ALGORITHMS,
    )
    return options_to_json(options)


def request_options(place: Place, challenge: bytes) -> str:
    """What a browser needs to show a passkey, as JSON: any that it has for us, so that nobody types an address."""
    options = generate_authentication_options(
        rp_id=place.rp_id,
        challenge=challenge,
        timeout=CHALLENGE_SECONDS * 1000,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def created(edge: EdgeKeys, place: Place, response: str, moment: datetime) -> tuple[NewKey, bytes]:
    """The passkey in a browser's answer, and the challenge that it answered. Raises NoCredential."""
    try:
        credential = parse_registration_credential_json(_bounded(response))
        given = _challenge_in(credential.response.client_data_json)
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=given,
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
        )
    except Exception as error:
        raise NoCredential(str(error)) from error
    if not is_ours(edge, place, given, moment):
        raise NoCredential("the challenge is of another browser, purpose or time")
    return NewKey(verified.credential_id, verified.credential_public_key, verified.sign_count), given


def shown(response: str) -> Shown:
    """What an answer says of itself. Raises NoCredential."""
    try:
        credential = parse_authentication_credential_json(_bounded(response))
        challenge = _challenge_in(credential.response.client_data_json)
    except Exception as error:
        raise NoCredential(str(error)) from error
    return Shown(credential.raw_id, credential.response.user_handle or b"", challenge)


def counter_of(edge: EdgeKeys, place: Place, response: str, public_key: bytes, moment: datetime) -> int:
    """The authenticator's counter in an answer that is proven by this key. Raises NoCredential."""
    given = shown(response).challenge
    if not is_ours(edge, place, given, moment):
        raise NoCredential("the challenge is of another browser, purpose or time")
    try:
        verified = verify_authentication_response(
            credential=response,
            expected_challenge=given,
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,  # whether it went back is looked at where it is kept
            require_user_verification=True,
        )
    except Exception as error:
        raise NoCredential(str(error)) from error
    return verified.new_sign_count


def _challenge_in(client_data_json: bytes) -> bytes:
    client_data = parse_client_data_json(client_data_json)
    if client_data.cross_origin:  # §13.4.9: a page of ours is in nobody's frame
        raise ValueError("in a frame of another site")
    return client_data.challenge


def _bounded(response: str) -> str:
    if len(response) > PASSKEY_RESPONSE_CHARACTERS:
        raise ValueError("too long")
    return response


def _proof(edge: EdgeKeys, place: Place, head: bytes) -> bytes:
    return keyed(edge, "challenge", place.rp_id, place.purpose, place.browser, head.hex())
