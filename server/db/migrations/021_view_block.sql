-- View blocks: what searches read of a thousand messages at once (docs/decisions/022). All of it derives from the
-- messages, is sealed under the mailbox's symmetric key, bound to its place, and may be deleted at any time.

-- `number` is uid / 1000. `part` 'members' lists who is in the block; the others hold a line or a signature a member.
-- `stale_at`, of 'members': since when a member is expunged; a day later the block goes, as its content does.
CREATE TABLE view_block (
    owner_id  bigint NOT NULL,
    folder_id integer NOT NULL,
    number    integer NOT NULL,
    part      text NOT NULL CONSTRAINT view_block_part
              CHECK (part IN ('members', 'from', 'to', 'subject', 'id', 'sent', 'order', 'thread', 'words')),
    data      bytea NOT NULL,
    stale_at  timestamptz,
    PRIMARY KEY (owner_id, folder_id, number, part),
    CONSTRAINT view_block_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder_state ON DELETE CASCADE
) WITH (fillfactor = 80);
ALTER TABLE view_block ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX view_block_stale ON view_block (stale_at) WHERE stale_at IS NOT NULL;

GRANT SELECT, INSERT, DELETE, UPDATE (data, stale_at) ON view_block TO caducee_reader;
