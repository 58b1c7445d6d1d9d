-- Up Migration

-- Webhooks that have failed since their last success, for "days of failures": one that does well has no row, so that its
-- successes cost next to nothing. By revision, so that whoever reads can leave out what was before the last activation.
-- Written in the transaction of the projection `deliveries`; not rebuilt: after a loss the time counts from the next failure.
create table webhook_health (
  webhook text collate "C" not null,
  revision integer not null, -- the webhook's at those requests
  failing_since timestamptz not null, -- recorded time of the first failed request
  failures integer not null, -- failed requests
  primary key (webhook, revision)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01); -- the same rows are written again and again: room for HOT updates
