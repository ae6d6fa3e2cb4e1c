-- Facilities: an organisation's server opens mailboxes for people whom the organisation signs in itself.

-- A facility's client certificate, known by its public key (SHA-256 of SubjectPublicKeyInfo), and a mailbox that it may
-- open, until when (null: until revoked), with which rights (as in delegation). `proof` binds all of it under an edge
-- secret. `shown` is the certificate with its path (DER) as the facility last showed it, `shown_proof` the same for it:
-- whether it was revoked meanwhile is asked again at each sign-in with a token.
CREATE TABLE facility (
    owner_id    bigint NOT NULL CONSTRAINT facility_owner REFERENCES owner,
    facility_id bigint GENERATED ALWAYS AS IDENTITY,
    key_hash    bytea NOT NULL CONSTRAINT facility_hash CHECK (octet_length(key_hash) = 32),
    subject     text NOT NULL,
    not_after   timestamptz NOT NULL,
    rights      smallint NOT NULL CONSTRAINT facility_rights CHECK (rights BETWEEN 1 AND 7),
    until       timestamptz,
    granted_at  timestamptz NOT NULL,
    proof       bytea NOT NULL,
    shown       bytea[],
    shown_proof bytea,
    PRIMARY KEY (owner_id, facility_id),
    CONSTRAINT facility_once UNIQUE (key_hash, owner_id)
);

GRANT SELECT ON facility TO caducee_edge, caducee_reader, caducee_facility;
GRANT UPDATE (shown, shown_proof) ON facility TO caducee_facility;
-- Which mailbox is meant, whether its holder is still there, whether a certificate is revoked, who failed too often.
GRANT SELECT (owner_id, kind, state) ON owner TO caducee_facility;
GRANT SELECT (owner_id, token, closed_at) ON address TO caducee_facility;
GRANT SELECT (owner_id, missing_since) ON holder TO caducee_facility;
GRANT SELECT ON trust_list, trust_revocation TO caducee_facility;
GRANT SELECT, INSERT, UPDATE (seen_on, path) ON peer_certificate TO caducee_facility;
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failure TO caducee_facility;
-- Each token is in the trail of the mailbox.
GRANT INSERT ON audit, audit_key TO caducee_facility;
GRANT SELECT (key_id) ON audit_key TO caducee_facility;
GRANT SELECT (reader_id, public_key, proof) ON audit_reader TO caducee_facility;
