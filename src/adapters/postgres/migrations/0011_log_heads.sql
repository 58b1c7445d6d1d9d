-- The signed heads of the audit log.

-- Each head names the number of leaves and the root of their tree, as a signed note. The log may only grow from the last head.
create table log_heads (
  origin text not null, -- name of the log; a loss that an operator declares begins another one
  size bigint not null, -- number of leaves
  root bytea not null,
  note text not null, -- the signed note
  is_ended boolean not null default false, -- whether a declared loss has ended the log of this name
  signed_at timestamptz not null default clock_timestamp(),
  primary key (origin, size) -- serves the last head
);
