-- Up Migration

-- The history of deliveries, and payloads where the bus keeps none that can be read again. All of it is partitioned by the
-- day (UTC) of accepted_at, so that retention drops whole days; the adapter makes the partitions before they are needed.
-- Advisory locks of this file: 7006, writing facts.

-- One row a delivery: the greatest (chain, finality, attempt) of its facts, twins among them by event id. When that fact is
-- a request it has no other row: most deliveries are done after their first.
create table deliveries (
  accepted_at timestamptz not null,
  time timestamptz not null,
  next_attempt_at timestamptz, -- while retrying
  died_at timestamptz, -- time, when it is a dead letter
  duration_ms double precision,
  delivery uuid not null,
  event_id uuid not null,
  chain integer not null,
  attempt integer not null,
  code integer,
  finality smallint not null,
  webhook text collate "C" not null,
  tenant text collate "C" not null,
  message text not null,
  place text not null,
  fingerprint text not null,
  event text not null,
  correlation_id text not null,
  type text not null,
  status text not null,
  reason text,
  response text,
  -- The history of a webhook and its cursor; and one delivery by its whole key, to compare states.
  primary key (webhook, accepted_at, delivery)
) partition by range (accepted_at);
-- One delivery by its id alone.
create index deliveries_by_id on deliveries (delivery);
-- The history of a webhook by status. What most of it is needs no index.
create index deliveries_by_status on deliveries (webhook, status, accepted_at, delivery) where status <> 'success';
-- Dead letters by the time they died; the webhook stands in it to be filtered by.
create index deliveries_dead on deliveries (tenant, died_at, delivery, webhook) where died_at is not null;
-- Sealed bytes do not compress.
alter table deliveries alter column response set storage external;

-- All other requests, one row each.
create table attempts (
  accepted_at timestamptz not null,
  time timestamptz not null,
  duration_ms double precision,
  delivery uuid not null,
  event_id uuid not null,
  chain integer not null,
  attempt integer not null,
  code integer,
  type text not null,
  reason text,
  response text,
  -- The attempts of a delivery.
  primary key (delivery, event_id, accepted_at)
) partition by range (accepted_at);
alter table attempts alter column response set storage external;

-- The archive of payloads where the bus is not this database. Content is part of the key: other content under the same id
-- never overwrites what retries send.
create table payloads (
  day date not null,
  tenant text collate "C" not null,
  message text collate "C" not null,
  fingerprint text collate "C" not null,
  payload bytea not null,
  -- A payload.
  primary key (tenant, message, fingerprint, day)
) partition by range (day);
alter table payloads alter column payload set storage external;

-- Writes facts, at most one of each delivery with `states`: the greatest of those at hand. It becomes the delivery's row when
-- it is greater than what stands there; the smaller of the two, and all without `states`, go to the attempts if they are
-- requests. The lock makes the comparison true: what stands there cannot change meanwhile.
-- Texts are joined by U+001E, U+001D alone is null. The settings: the plan is made once, perhaps while the tables are empty,
-- and must be index scans whatever the statistics say at that moment.
create function record_facts(
  states boolean[], webhooks text, accepted timestamptz[], delivery_ids uuid[], tenants text, messages text, places text,
  fingerprints text, events text, correlations text, types text, statuses text, requests boolean[], chains integer[],
  finalities smallint[], attempt_numbers integer[], event_ids uuid[], times timestamptz[], codes integer[],
  durations double precision[], reasons text, responses text, next_attempts timestamptz[], deaths timestamptz[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform pg_advisory_xact_lock(7006);
  with fact as materialized (
    select * from unnest(
      states, string_to_array(webhooks, e'\x1e'), accepted, delivery_ids, string_to_array(tenants, e'\x1e'),
      string_to_array(messages, e'\x1e'), string_to_array(places, e'\x1e'), string_to_array(fingerprints, e'\x1e'),
      string_to_array(events, e'\x1e'), string_to_array(correlations, e'\x1e'), string_to_array(types, e'\x1e'),
      string_to_array(statuses, e'\x1e'), requests, chains, finalities, attempt_numbers, event_ids, times, codes, durations,
      string_to_array(reasons, e'\x1e', e'\x1d'), string_to_array(responses, e'\x1e', e'\x1d'), next_attempts, deaths
    ) as f (
      is_state, webhook, accepted_at, delivery, tenant, message, place, fingerprint, event, correlation_id, type, status,
      is_request, chain, finality, attempt, event_id, time, code, duration_ms, reason, response, next_attempt_at, died_at
    )
  ), met as materialized (
    select f.is_request, f.delivery, f.accepted_at, f.chain, f.attempt, f.event_id, f.type, f.time, f.code, f.duration_ms, f.reason,
           f.response, stood, (stood.chain, stood.finality, stood.attempt, stood.event_id) < (f.chain, f.finality, f.attempt, f.event_id) as gives_way
    from fact f cross join lateral (
      select d.* from deliveries d where d.webhook = f.webhook and d.accepted_at = f.accepted_at and d.delivery = f.delivery limit 1
    ) as stood
    where f.is_state and stood.event_id <> f.event_id
  ), smaller as (
    insert into attempts (accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason, response)
      select accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason, response
      from fact where not is_state and is_request
    union all
      select accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason, response
      from met where is_request and not gives_way
    union all
      select (stood).accepted_at, (stood).time, (stood).duration_ms, (stood).delivery, (stood).event_id, (stood).chain,
             (stood).attempt, (stood).code, (stood).type, (stood).reason, (stood).response
      from met where gives_way and (stood).type = any ('{DeliverySucceeded,DeliveryFailed,DeliveryDeadLettered}')
    on conflict do nothing
  )
  insert into deliveries as d (
    accepted_at, time, next_attempt_at, died_at, duration_ms, delivery, event_id, chain, attempt, code, finality, webhook,
    tenant, message, place, fingerprint, event, correlation_id, type, status, reason, response
  )
  select accepted_at, time, next_attempt_at, died_at, duration_ms, delivery, event_id, chain, attempt, code, finality, webhook,
         tenant, message, place, fingerprint, event, correlation_id, type, status, reason, response
  from fact where is_state
  on conflict (webhook, accepted_at, delivery) do update set
    time = excluded.time, next_attempt_at = excluded.next_attempt_at, died_at = excluded.died_at, duration_ms = excluded.duration_ms,
    event_id = excluded.event_id, chain = excluded.chain, attempt = excluded.attempt, code = excluded.code,
    finality = excluded.finality, correlation_id = excluded.correlation_id, type = excluded.type, status = excluded.status,
    reason = excluded.reason, response = excluded.response
  where (d.chain, d.finality, d.attempt, d.event_id) < (excluded.chain, excluded.finality, excluded.attempt, excluded.event_id);
end
$$;
