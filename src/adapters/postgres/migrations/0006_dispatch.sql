-- The tables of the dispatcher: the message index, offsets, quarantined records, scheduled deliveries, webhook health, replay jobs.

-- The message index: for each message its content, its place and the webhooks it is owed to. It finds duplicates, so
-- (tenant, message) is unique over the whole retention time and the table cannot be partitioned by day. Like the archive of sealed bodies, it cannot
-- be rebuilt from events, so it needs a backup.
create table message_index (
  tenant text collate "C" not null,
  message text collate "C" not null, -- the message's id
  fingerprint text not null, -- HMAC of the message's content
  place text not null, -- bus identity, partition, offset and index of the message
  event text not null, -- name of the message's event
  accepted_at timestamptz not null, -- when the API accepted the message
  webhooks text[] not null, -- ids of the webhooks that matched
  matched_at text collate "C" not null, -- checkpoint of the projection `webhooks` that the message was matched at
  primary key (tenant, message) -- serves finding a message, and a duplicate
);
-- Serves a tenant's messages, newest first.
create index message_index_by_time on message_index (tenant, accepted_at desc, message desc);
-- Serves deleting what is older than the retention time.
create index message_index_by_age on message_index using brin (accepted_at);

-- Messages that were rejected because another message with the same id and other content came first.
create table message_rejections (
  tenant text collate "C" not null,
  message text collate "C" not null, -- the message's id
  place text not null, -- place of the rejected message
  fingerprint text not null, -- HMAC of the rejected content
  accepted_at timestamptz not null, -- when the API accepted it
  primary key (tenant, message, place) -- serves the rejections of a message
);

-- The saved offset of each partition of the bus. It never decreases.
create table bus_offsets (
  bus text not null, -- identity of the bus
  partition integer not null,
  next_offset bigint not null, -- the first offset that is not done
  primary key (bus, partition)
);

-- Records of the bus that are quarantined because they cannot be decoded.
create table quarantined_records (
  bus text not null, -- identity of the bus
  partition integer not null,
  record_offset bigint not null,
  error text not null, -- code and message of the error
  since timestamptz not null default clock_timestamp(),
  primary key (bus, partition, record_offset)
);

-- Deliveries with an attempt still to make, one row for each. A row is due when it has a due time, or parked when it waits for a slot.
create table scheduled_deliveries (
  delivery uuid primary key, -- serves parking, renewing, finishing a delivery
  tenant text not null,
  webhook text collate "C" not null,
  message text not null,
  place text not null, -- bus identity, partition, offset and index of the message
  fingerprint text not null, -- HMAC of the message's content
  event text not null, -- name of the message's event
  accepted_at timestamptz not null, -- when the API accepted the message
  correlation_id text not null,
  chain integer not null, -- chain of the next attempt
  attempt integer not null, -- number of the next attempt in its chain, from 1
  due_at timestamptz, -- when the attempt may be made; null: parked
  parked_at timestamptz, -- when the delivery was parked; null unless it is parked
  claimed_by text, -- id of the process that makes the attempt, or null
  claimed_until timestamptz -- another dispatcher may claim the row from this time on
) with (
  fillfactor = 80, -- room for claims and renewals on the same page
  autovacuum_vacuum_scale_factor = 0.01 -- rows come and go all the time
);
-- Both indexes begin with the webhook, so that a reader need not skip the rows of other webhooks.
-- Serves claiming due rows.
create index scheduled_deliveries_due on scheduled_deliveries (webhook, due_at) where due_at is not null;
-- Serves claiming parked rows, oldest first.
create index scheduled_deliveries_parked on scheduled_deliveries (webhook, parked_at) where due_at is null;

-- Webhooks that have failed since their last success. A webhook that succeeds has no row, so its successes cost almost nothing.
-- The projection `deliveries` writes it. A rebuild does not restore it: the time then counts from the next failure.
create table webhook_health (
  webhook text collate "C" not null,
  revision integer not null, -- the webhook's revision at those requests; a reader leaves out those before the last activation
  failing_since timestamptz not null, -- recorded time of the first failed request
  failures integer not null, -- number of failed requests
  primary key (webhook, revision)
) with (
  fillfactor = 70, -- the same rows are updated repeatedly, so there is room for HOT updates
  autovacuum_vacuum_scale_factor = 0.01
);

-- Replay jobs: each replays the deliveries of one webhook that were accepted in a time range. Their effects on deliveries are events, and the jobs
-- themselves are only in this table. A job that has ended is deleted after the retention time.
create table replay_jobs (
  id text collate "C" primary key,
  tenant text collate "C" not null,
  webhook text collate "C" not null,
  key_id text collate "C", -- the API key that created the webhook; it may read and cancel the job
  actor text not null, -- who began the job, for the metadata of its events
  since timestamptz not null, -- start of the range of accepted_at, inclusive
  until timestamptz not null, -- end of the range, exclusive
  delivery_status text, -- status of the deliveries to replay; null: failed and discarded ones
  status text not null default 'running', -- running, completed, cancelled or failed
  reason text, -- why the job failed
  replayed integer not null default 0, -- deliveries replayed
  skipped integer not null default 0, -- deliveries skipped because their body has expired
  pages integer not null default 0, -- completed pages; a writer names its page, and changes nothing if that page is completed
  cursor jsonb, -- the last delivery of the last page done
  page jsonb, -- the page in progress, stored before its first event is appended
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
-- Ensures at most one running job of a webhook.
create unique index replay_jobs_running on replay_jobs (webhook) where status = 'running';
-- Serves the jobs with work left.
create index replay_jobs_active on replay_jobs (id) where status = 'running' or page is not null;
-- Serves deleting old jobs.
create index replay_jobs_by_age on replay_jobs (finished_at);
