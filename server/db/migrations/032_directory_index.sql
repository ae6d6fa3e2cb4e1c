-- The index of the directory, made anew by the next import: fewer numbers a listing, one look-up for a word in whatever
-- field it stands, mistakes by a plain btree. What is here is made of the other tables of the schema.
DROP TABLE directory.word, directory.listing;

-- Folded words, each once. A term is what listings hold of a word: the word's number × 8 + the field it stands in
-- (0 family name, 1 first name, 2 name of an organisation, 3 workplace, 4 label, 5 town, 6 postcode). A label, that of
-- a profession, a specialty or a sector, is one term ("=" and the label): `terms` of a word are its own and those of
-- the labels that it stands in or is a synonym of. `uses`: in about how many listings.
CREATE TABLE directory.word (
    word     text COLLATE "C" PRIMARY KEY,
    word_id  integer NOT NULL UNIQUE,
    terms    integer[] NOT NULL,
    uses     integer NOT NULL,
    sound    text COLLATE "C" NOT NULL  -- how it is heard, empty for what is no name
);
CREATE INDEX ON directory.word (sound) WHERE sound <> '';
CREATE INDEX ON directory.word (word) WHERE uses >= 500;  -- the few that a short beginning stands for

-- A word's first letters with none or one left out: what it is found by despite a mistake.
CREATE TABLE directory.near_word (
    key      text COLLATE "C" NOT NULL,
    word_id  integer NOT NULL
);
CREATE INDEX ON directory.near_word (key) INCLUDE (word_id);

-- What a search finds: a person at a place, or an organisation (empty person). Those with a mailbox are stored first.
CREATE TABLE directory.listing (
    national_id      text COLLATE "C" NOT NULL,
    profession_code  text COLLATE "C" NOT NULL,
    organisation_id  text COLLATE "C" NOT NULL,
    sort_name        text COLLATE "C" NOT NULL,  -- folded: family name and first name, or an organisation's name
    mailboxes        integer NOT NULL,           -- listed ones
    words            integer[] NOT NULL,         -- terms
    PRIMARY KEY (national_id, profession_code, organisation_id)
);
-- Nobody plans by what arrays hold, and to look for it takes seconds.
ALTER TABLE directory.listing ALTER words SET STATISTICS 0;
CREATE INDEX ON directory.listing USING gin (words) WITH (fastupdate = off);
-- One in ten of those with a mailbox: a question that a whole region answers is answered from here.
CREATE INDEX ON directory.listing USING gin (words) WITH (fastupdate = off)
 WHERE mailboxes > 0 AND right(organisation_id, 1) = '7';
CREATE INDEX ON directory.listing (sort_name) WHERE mailboxes > 0;

-- Where the towns of the files are, in degrees: postcodes near a place. The name is folded, without particles.
CREATE TABLE directory.place (
    town       text COLLATE "C" NOT NULL,
    postcode   text COLLATE "C" NOT NULL,
    latitude   real NOT NULL,
    longitude  real NOT NULL,
    PRIMARY KEY (town, postcode)
);
CREATE INDEX ON directory.place (postcode);
CREATE INDEX ON directory.place (latitude);

GRANT SELECT ON directory.place, directory.word, directory.near_word, directory.listing TO caducee_reader, caducee_edge, caducee_ldap;
