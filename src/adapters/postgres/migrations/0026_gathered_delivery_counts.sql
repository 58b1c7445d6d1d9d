-- Counts of the newest batches of the projection `deliveries`, one row for each batch. The projection adds them to `delivery_statistics` when there are
-- enough of them, because a batch of 1,000 webhooks would otherwise update 2,000 rows. Readers add up both tables. Each of the four texts has one element
-- for each minute of a webhook, and the elements are joined by the character U+001E.
create table gathered_delivery_counts (
  build integer not null, -- build of the projection `deliveries`
  id bigint generated always as identity,
  tenants text collate "C" not null,
  webhooks text collate "C" not null, -- empty for the accepted messages of a tenant
  minutes text collate "C" not null, -- RFC 3339 times of the beginnings of the minutes
  counts text collate "C" not null, -- numbers joined by commas, in the order of the columns of `delivery_statistics` from `accepted` on
  primary key (build, id) -- serves the rows of a build, and its oldest row
) with (
  autovacuum_vacuum_scale_factor = 0, -- the table is emptied all the time, so its size says nothing
  autovacuum_vacuum_threshold = 500
);
