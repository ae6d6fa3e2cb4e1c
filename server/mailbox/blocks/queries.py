"""Every SQL statement about view blocks, each with a line of why."""

from __future__ import annotations

# The parts of some blocks that are wanted.
BLOCKS = """
SELECT number, part, data FROM view_block
 WHERE owner_id = $1 AND folder_id = $2 AND number = ANY($3::int[]) AND part = ANY($4::text[])
"""
# Thousands of uids that additions of late have filled, and that have no words yet. Additions are found by time (BRIN);
# one in a thousand gives the last uid of a thousand.
FULL_BLOCKS = """
SELECT DISTINCT c.owner_id, c.folder_id, n.number
  FROM change c CROSS JOIN LATERAL generate_series(lower(c.uids) / 1000, upper(c.uids) / 1000 - 1) AS n(number)
 WHERE c.kind = 1 AND c.changed_at > now() - make_interval(secs => $1) AND lower(c.uids) / 1000 < upper(c.uids) / 1000
   AND NOT EXISTS (SELECT FROM view_block b WHERE b.owner_id = c.owner_id AND b.folder_id = c.folder_id
                      AND b.number = n.number AND b.part = 'words')
 LIMIT $2
"""
# A block that does not open, or does not fit its members, is made anew.
DROP_BLOCK = "DELETE FROM view_block WHERE owner_id = $1 AND folder_id = $2 AND number = $3"
# A member that went while the block was made ($6: the members) leaves a block that has to go within a day.
ADD_TO_BLOCK = """
INSERT INTO view_block (owner_id, folder_id, number, part, data, stale_at)
SELECT $1, $2, $3, n.part, n.data, CASE WHEN n.part = 'members' AND g.gone THEN now() END
  FROM unnest($4::text[], $5::bytea[]) AS n(part, data),
       (SELECT count(*) < cardinality($6::int[]) AS gone FROM message
         WHERE owner_id = $1 AND folder_id = $2 AND uid = ANY($6::int[])) AS g
ON CONFLICT (owner_id, folder_id, number, part) DO UPDATE SET data = excluded.data
"""
# A mailbox that closes keeps nothing that can be made again.
DROP_OWNERS_BLOCKS = "DELETE FROM view_block WHERE owner_id = $1"
# Blocks with messages that were expunged go when their content may: a search makes them anew without those.
DROP_STALE_BLOCKS = """
DELETE FROM view_block b
 USING (SELECT owner_id, folder_id, number FROM view_block WHERE stale_at < now() - make_interval(secs => $1) LIMIT $2)
       AS old
 WHERE b.owner_id = old.owner_id AND b.folder_id = old.folder_id AND b.number = old.number
"""
