-- The state of the projections. Their read models have separate schemas, which the projections create.

-- The builds of each projection. A build is one building of its read model. The newest build has the highest number. The tables of a
-- build are in the schema `projection_<name>_<build>`, and readers see them through views in `public`.
create table projections (
  name text not null,
  build integer not null, -- counts up from 1
  version integer not null, -- version of the projection's code that makes this build
  -- Position of the last event taken, or null before the first. A runner moves it by compare-and-set, in the transaction that writes the rows. So if
  -- two runners work on one build, the slower one writes nothing.
  checkpoint text collate "C",
  is_live boolean not null default false, -- whether the readers' views show this build
  lifted integer not null default 0, -- the number of quarantines lifted so far; runners compare it too, because a lift changes rows before the checkpoint
  updated_at timestamptz not null default clock_timestamp(),
  primary key (name, build)
);
-- Ensures at most one live build of a projection.
create unique index projections_live on projections (name) where is_live;

-- Streams with an event that a build could not apply. The later events of the stream wait for an operator. Other streams are not affected.
create table quarantined_streams (
  projection text not null,
  build integer not null,
  stream text not null,
  revision integer not null, -- revision of the event that failed
  event_id uuid not null, -- id of that event
  position text collate "C" not null, -- position of that event
  error text not null, -- code and message of the error
  since timestamptz not null default clock_timestamp(),
  primary key (projection, build, stream) -- serves the quarantined streams of a build
);

-- The last change of a projection's aggregates that the API has acknowledged before the read model had it. Routing waits until
-- the live build of `webhooks` has reached it.
create table acknowledged_changes (
  projection text primary key,
  position text collate "C" not null -- position of the change's event
);

-- Drops the tables of a build whose event store was moved to another engine. A runner that still works on the build then fails.
create function drop_projection_tables(projection text, build integer) returns void language plpgsql as $$
begin
  execute format('drop schema %I cascade', 'projection_' || projection || '_' || build);
end
$$;
