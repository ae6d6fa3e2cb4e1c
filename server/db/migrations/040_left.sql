-- Whoever takes app passwords knows who left the directory: the LDAP gateway too.
GRANT SELECT (owner_id, missing_since) ON holder TO caducee_ldap;
