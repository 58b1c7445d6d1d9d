-- Up Migration

-- The message index: which message has which id, content and place, and whom it is owed to. With the archive a source of
-- truth for the retention time: backed up, never rebuilt. Not partitioned, since (tenant, message) is unique over all of it.
create table message_index (
  tenant text collate "C" not null,
  message text collate "C" not null,
  fingerprint text not null,
  place text not null,
  event text not null,
  accepted_at timestamptz not null,
  webhooks text[] not null,
  matched_at text collate "C" not null,
  primary key (tenant, message)
);
-- Lists of a tenant's messages, newest first.
create index message_index_by_time on message_index (tenant, accepted_at desc, message desc);
-- Ageing out in small batches.
create index message_index_by_age on message_index using brin (accepted_at);

-- The same id posted with other content.
create table message_rejections (
  tenant text collate "C" not null,
  message text collate "C" not null,
  place text not null,
  fingerprint text not null,
  accepted_at timestamptz not null,
  primary key (tenant, message, place)
);

-- The first offset not done, saved only forwards.
create table bus_offsets (
  bus text not null,
  partition integer not null,
  next_offset bigint not null,
  primary key (bus, partition)
);

-- Records that cannot be decoded or whose tenant's key is gone: set aside visibly.
create table unreadable_records (
  bus text not null,
  partition integer not null,
  record_offset bigint not null,
  error text not null,
  since timestamptz not null default clock_timestamp(),
  primary key (bus, partition, record_offset)
);

-- What is owed later: one row a delivery, the attempt that is next. due_at null: parked, released as slots free up.
create table scheduled_deliveries (
  delivery uuid primary key,
  tenant text not null,
  webhook text collate "C" not null,
  message text not null,
  place text not null,
  fingerprint text not null,
  event text not null,
  accepted_at timestamptz not null,
  correlation_id text not null,
  chain integer not null,
  attempt integer not null,
  due_at timestamptz,
  parked_at timestamptz,
  claimed_by text,
  claimed_until timestamptz
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
-- Claims go webhook by webhook, so that one webhook's rows never stand in front of another's.
create index scheduled_deliveries_due on scheduled_deliveries (webhook, due_at) where due_at is not null;
create index scheduled_deliveries_parked on scheduled_deliveries (webhook, parked_at) where due_at is null;
