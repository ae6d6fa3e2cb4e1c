-- What an operator reports each month, counted a day: never by person, only by type of mailbox.
CREATE TABLE indicator (
    day   date NOT NULL,
    name  text NOT NULL,      -- "sent", "received", "imap" …
    kind  text NOT NULL,      -- of mailbox, as owner.kind
    count bigint NOT NULL,
    PRIMARY KEY (day, name, kind)
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE (count) ON indicator TO caducee_edge, caducee_reader;

-- Liste rouge: the holder's address is not to be published in the directory.
ALTER TABLE owner ADD COLUMN unlisted boolean NOT NULL DEFAULT false;
