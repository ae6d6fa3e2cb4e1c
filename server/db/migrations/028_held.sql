-- Large messages held for other operators until they fetch them: ciphertext whose key has left with the pointer.
-- `domain` says whose operator may fetch it, `recipients` (keyed tokens of addresses) by naming whom; `taken`: the pointer
-- was delivered, or may have been. What is not taken within an hour, and what has ended, the sender removes.
CREATE TABLE held_message (
    held_id    bytea       PRIMARY KEY CHECK (octet_length(held_id) = 16),
    domain     text        NOT NULL,
    recipients bytea[]     NOT NULL,
    size       bigint      NOT NULL,  -- octets of the blob
    taken      boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz NOT NULL
);
CREATE TABLE held_piece (
    held_id bytea   NOT NULL CONSTRAINT held_piece_message REFERENCES held_message ON DELETE CASCADE,
    number  integer NOT NULL,
    data    bytea   NOT NULL,
    PRIMARY KEY (held_id, number)
);
ALTER TABLE held_piece ALTER data SET STORAGE EXTERNAL;

GRANT SELECT, INSERT, UPDATE (taken), DELETE ON held_message TO caducee_sender;
GRANT INSERT ON held_piece TO caducee_sender;
GRANT SELECT ON held_message, held_piece TO caducee_relay;
