-- Up Migration

-- Which engine stands behind each port: another one than last time refuses to start.
create table engines (
  port text primary key,
  identity text not null,
  since timestamptz not null default clock_timestamp()
);

-- Random keys, each wrapped by the master key. Not a read model: backed up apart from the rest.
create table data_keys (
  id integer generated always as identity primary key,
  owner text not null,
  purpose text not null,
  wrapped bytea, -- null once destroyed
  created_at timestamptz not null default clock_timestamp(),
  unique (owner, purpose)
);

-- Rights that one process has at a time, on this clock.
create table leases (
  name text primary key,
  owner text not null,
  until timestamptz not null
);

create table live_processes (
  id text primary key,
  roles text[] not null,
  seen_at timestamptz not null
);

-- One row a build of a projection, the newest with the highest number; its tables are in the schema
-- `projection_<name>_<build>`. The checkpoint is the fence between two runners: it is moved by compare-and-set.
create table projections (
  name text not null,
  build integer not null,
  version integer not null, -- of the code that it is built by
  checkpoint text collate "C", -- null: from the beginning
  is_live boolean not null default false, -- readers' views point at this build
  lifted integer not null default 0, -- quarantines lifted so far: each changed rows behind the checkpoint
  updated_at timestamptz not null default clock_timestamp(),
  primary key (name, build)
);
create unique index projections_live on projections (name) where is_live;

-- A stream whose event a projection could not take; its later events wait, all other streams go on.
create table quarantined_streams (
  projection text not null,
  build integer not null,
  stream text not null,
  revision integer not null,
  event_id uuid not null,
  position text collate "C" not null,
  error text not null,
  since timestamptz not null default clock_timestamp(),
  primary key (projection, build, stream)
);
