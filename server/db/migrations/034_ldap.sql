-- LDAP: what its searches look up, and who signs in to ask.

-- The words of an address before the @, to be found as they are or begun. (A list of words needs no parser of texts,
-- which would part "dr2.martin" in its own way.)
CREATE FUNCTION directory.address_words(address text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_to_tsvector(array_remove(
    string_to_array(regexp_replace(lower(split_part(address, '@', 1)), '[^a-z0-9]+', ' ', 'g'), ' '), ''));
CREATE INDEX mailbox_entry_words ON directory.mailbox_entry USING gin (directory.address_words(address));

-- A sign-in by app password, and the counting of those that fail.
GRANT SELECT (owner_id, kind, state) ON owner TO caducee_ldap;
GRANT SELECT (owner_id, token, closed_at) ON address TO caducee_ldap;
GRANT SELECT, UPDATE (used_on) ON credential TO caducee_ldap;
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failure TO caducee_ldap;
