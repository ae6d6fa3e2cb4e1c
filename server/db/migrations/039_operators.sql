-- The operator's own people: who they are, their sessions, and what one asks for and another approves.

-- `sealed` holds role, password (argon2id), secret of the one-time codes and invitation under an edge secret, bound to the
-- name: who can write to the database alone makes no operator and changes no role. A name is never given again, for the
-- trail says it. `step` is the last one-time code that was taken; `code_id` finds an invitation among tries at a name.
CREATE TABLE operator (
    name       text COLLATE "C" PRIMARY KEY CONSTRAINT operator_name CHECK (name ~ '^[a-z][a-z0-9.-]{1,39}$'),
    sealed     bytea NOT NULL,
    step       bigint NOT NULL DEFAULT 0,
    code_id    text NOT NULL DEFAULT '',
    tries      smallint NOT NULL DEFAULT 0,
    made_at    timestamptz NOT NULL,
    revoked_at timestamptz
);

-- As session: never the token, and a proof that binds the row.
CREATE TABLE operator_session (
    token_hash bytea PRIMARY KEY CONSTRAINT operator_session_hash CHECK (octet_length(token_hash) = 32),
    name       text COLLATE "C" NOT NULL CONSTRAINT operator_session_operator REFERENCES operator,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    proof      bytea NOT NULL
);
CREATE INDEX operator_session_by_name ON operator_session (name);

-- Requests for dangerous acts: who, what, of whom and why are sealed (a patient's address is their INS), as is who
-- approved. `ended_at`: it was carried out, used or withdrawn, and counts no more.
CREATE TABLE operator_request (
    request_id bigint PRIMARY KEY,
    sealed     bytea NOT NULL,
    made_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    approved   bytea,
    ended_at   timestamptz
);
CREATE INDEX operator_request_by_time ON operator_request (made_at);

-- What operators did, by who.
CREATE INDEX audit_by_operator ON audit (actor, audit_id) WHERE kind LIKE 'operator-%';

-- The console reads nothing of content, no name, no folder, no detail of the trail; it holds no key that would open one.
GRANT SELECT, INSERT, UPDATE (sealed, step, code_id, tries, revoked_at) ON operator TO caducee_console;
GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON operator_session TO caducee_console;
GRANT SELECT, INSERT, UPDATE (approved, ended_at) ON operator_request TO caducee_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failure TO caducee_console;
GRANT INSERT ON audit, audit_key TO caducee_console;
GRANT SELECT (key_id) ON audit_key TO caducee_console;
GRANT SELECT (reader_id, public_key, proof) ON audit_reader TO caducee_console;
GRANT SELECT (audit_id, recorded_at, kind, owner_id, actor) ON audit TO caducee_console;
-- A mailbox as it stands.
GRANT SELECT ON address TO caducee_console;
GRANT SELECT (owner_id, kind, state, public_key, created_at, quota_bytes, refuses_mail, open_to_patients, unlisted),
      UPDATE (state) ON owner TO caducee_console;
GRANT SELECT (owner_id, bytes) ON folder_state TO caducee_console;
GRANT SELECT (owner_id) ON entrusted_key TO caducee_console;
-- What signs in to it, and ending it.
GRANT SELECT (owner_id, credential_id, label, created_at, used_on, revoked_at), UPDATE (revoked_at) ON credential
   TO caducee_console;
GRANT SELECT (owner_id, certificate_id, subject, not_after), DELETE ON client_certificate TO caducee_console;
GRANT SELECT (person_id, owner_id), DELETE ON session TO caducee_console;
GRANT SELECT (owner_id, set_at, used_on), DELETE ON local_password TO caducee_console;
GRANT SELECT (owner_id, code_id, made_at, expires_at), INSERT, DELETE,
      UPDATE (code_id, hash, tries, made_at, expires_at) ON invitation TO caducee_console;
GRANT SELECT (owner_id), DELETE ON recovery_code, passkey, known_device TO caducee_console;
GRANT SELECT (passkey_id, used_on) ON passkey TO caducee_console;
GRANT SELECT, INSERT, UPDATE (rights, until, granted_at, proof) ON delegation TO caducee_console;
