-- Counts of accepted messages and of attempts, rolled up by time. The projection `deliveries` adds to them in the transaction of its checkpoint, so
-- each event is counted exactly once in each build of the projection.
create table delivery_statistics (
  build integer not null, -- build of the projection `deliveries`
  tenant text collate "C" not null,
  step_seconds integer not null, -- 60 or 3600; every event is counted in a row of each
  webhook text collate "C" not null, -- or '' in the row with the sums of all webhooks
  starts_at timestamptz not null, -- the beginning of the minute or hour: of acceptance for messages, otherwise of the event
  accepted integer not null, -- messages; 0 in the rows of webhooks
  success integer not null, -- attempts by the status that they gave to the delivery
  retrying integer not null,
  failed integer not null,
  discarded integer not null,
  replayed integer not null, -- deliveries that a replay sent again
  http_2xx integer not null, -- requests by the status of the response
  http_3xx integer not null,
  http_4xx integer not null,
  http_5xx integer not null,
  no_response integer not null,
  up_to_5_ms integer not null, -- requests by their duration, each in one column only
  up_to_10_ms integer not null,
  up_to_25_ms integer not null,
  up_to_50_ms integer not null,
  up_to_100_ms integer not null,
  up_to_250_ms integer not null,
  up_to_500_ms integer not null,
  up_to_1000_ms integer not null,
  up_to_2500_ms integer not null,
  up_to_5000_ms integer not null,
  up_to_15000_ms integer not null,
  longer integer not null,
  primary key (build, tenant, step_seconds, webhook, starts_at) -- serves the counts of a tenant or a webhook in a range of time
) with (
  fillfactor = 70, -- the newest rows are updated repeatedly, so there is room for HOT updates
  autovacuum_vacuum_scale_factor = 0.02
);

-- The builds that were live before the table above existed. Their earlier events are not counted. A new build counts all events.
create table delivery_statistics_since (
  build integer primary key,
  since timestamptz not null -- the time since which events are counted
);
insert into delivery_statistics_since
  select build, clock_timestamp() from projections where name = 'deliveries' and checkpoint is not null;

-- A build whose rows are in another store goes live at the checkpoint of the former live build. It may have applied events after that checkpoint, and
-- gets them a second time. `applied_to` tells which ones.
alter table projections
  add column applied_to text collate "C"; -- position of the last event that the build had applied when it went live, or null
