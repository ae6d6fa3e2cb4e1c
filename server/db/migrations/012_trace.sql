-- What an event of the trail is found by. `message` is a keyed token of the Message-ID, `trace` the name that one accept
-- has in logs and in Received, `party` the pseudonym (its octets) of the address on the other side than owner_id.
-- BRIN: to write an event changes no index; a search reads some thousandth of the trail.
ALTER TABLE audit ADD COLUMN message bytea, ADD COLUMN trace text, ADD COLUMN party bytea;
CREATE INDEX audit_found ON audit USING brin
    (recorded_at, message bytea_bloom_ops, trace text_bloom_ops, party bytea_bloom_ops)
    WITH (pages_per_range = 32, autosummarize = on);
