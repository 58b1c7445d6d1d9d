-- The signed heads of the audit log.

-- Each row is one head: the number of leaves and the root of their tree, as a signed note. From one head to the next the log may only grow.
create table log_heads (
  origin text not null, -- name of the log; after a loss that an operator declares, the log gets another name
  size bigint not null, -- number of leaves
  root bytea not null,
  note text not null, -- the signed note
  is_ended boolean not null default false, -- whether a declared loss has ended the log of this name
  signed_at timestamptz not null default clock_timestamp(),
  primary key (origin, size) -- serves the last head
);
