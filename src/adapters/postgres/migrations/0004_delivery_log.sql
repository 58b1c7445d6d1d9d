-- The delivery log in Postgres: the history of deliveries, and the archive of sealed bodies for a bus that is elsewhere.
-- All of it is partitioned by the day (UTC) of accepted_at, so that retention drops whole days. The adapter makes the
-- partitions before they are needed. Writers of facts use the advisory lock deliveryFacts (7006).

-- One row for each delivery: the greatest of its facts by (chain, finality, attempt, event id). When that fact is a request, it has no row in
-- `attempts`. This saves rows, because most deliveries end with their first request.
create table deliveries (
  accepted_at timestamptz not null, -- when the API accepted the message
  time timestamptz not null, -- when the fact was recorded
  next_attempt_at timestamptz, -- while retrying, else null
  died_at timestamptz, -- same as time for a dead letter, else null
  duration_ms double precision, -- of the request, or null when the fact is no request
  delivery uuid not null,
  event_id uuid not null, -- id of the fact's event
  chain integer not null, -- from 1; each replay begins the next chain
  attempt integer not null, -- from 1 within the chain; 0 before the first request
  code integer, -- HTTP status of the response, or null without one
  finality smallint not null, -- rank of the fact's type within a chain; a higher one wins
  webhook text collate "C" not null,
  tenant text collate "C" not null,
  message text not null,
  place text not null, -- bus identity, partition, offset and index of the message
  fingerprint text not null, -- HMAC of the message's content
  event text not null, -- name of the message's event
  correlation_id text not null,
  type text not null, -- type of the fact's event
  status text not null, -- the delivery's status in the API
  reason text, -- why the attempt or the delivery failed
  reason_detail text, -- the same as a sentence, or null
  response text, -- beginning of the response, sealed
  primary key (webhook, accepted_at, delivery) -- serves a webhook's history with its cursor, and one delivery by its whole key
) partition by range (accepted_at);
-- Serves one delivery by its id alone.
create index deliveries_by_id on deliveries (delivery);
-- Serves a webhook's history by status. Most deliveries are successes, and they need no index.
create index deliveries_by_status on deliveries (webhook, status, accepted_at, delivery) where status <> 'success';
-- Serves dead letters by the time they died, of all webhooks or of some.
create index deliveries_dead on deliveries (tenant, died_at, delivery, webhook) where died_at is not null;
-- Sealed bytes do not compress, so Postgres need not try.
alter table deliveries alter column response set storage external;

-- The requests that are not the greatest fact of their delivery, one row each. The columns mean the same as in `deliveries`.
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
  reason_detail text,
  response text,
  primary key (delivery, event_id, accepted_at) -- serves the attempts of a delivery
) partition by range (accepted_at);
alter table attempts alter column response set storage external;

-- The archive of sealed bodies when the bus is not this database. The fingerprint is part of the key, so that other content under the same message id
-- never replaces the body that retries send.
create table sealed_bodies (
  day date not null, -- day (UTC) of accepted_at
  tenant text collate "C" not null,
  message text collate "C" not null,
  fingerprint text collate "C" not null, -- HMAC of the message's content
  sealed_body bytea not null, -- the body of the request that every receiver gets, sealed
  primary key (tenant, message, fingerprint, day) -- serves the body of a message
) partition by range (day);
alter table sealed_bodies alter column sealed_body set storage external;

-- Writes facts. At most one fact of each delivery has `states` true: the greatest of its facts in this call. It becomes the delivery's
-- row when it is greater than the stored one. The smaller of the two, and all facts with `states` false, go to `attempts` when
-- they are requests. The lock makes the comparison true, because no other writer can change the stored row meanwhile.
-- Only the days of these facts are opened: with a month of partitions, opening all of them was half the cost of a small batch.
-- The bounds are variables, because partitions that a plan excludes while it runs are opened first.
-- Texts are joined by U+001E, and U+001D alone is null. The function has settings because Postgres plans the statement once, perhaps while the tables
-- are empty. The plan must use index scans, with any statistics.
create function record_facts(
  tenants text, messages text, places text, fingerprints text, events text, accepted timestamptz[], webhooks text,
  delivery_ids uuid[], correlations text, chains integer[], attempt_numbers integer[],
  states boolean[], types text, statuses text, requests boolean[], finalities smallint[], event_ids uuid[], times timestamptz[],
  codes integer[], durations double precision[], reasons text, details text, responses text, next_attempts timestamptz[], deaths timestamptz[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  first_at timestamptz;
  last_at timestamptz;
begin
  select min(a), max(a) into first_at, last_at from unnest(accepted) a;
  perform pg_advisory_xact_lock(7006);
  -- The facts of this call.
  with fact as materialized (
    select * from unnest(
      states, string_to_array(webhooks, e'\x1e'), accepted, delivery_ids, string_to_array(tenants, e'\x1e'),
      string_to_array(messages, e'\x1e'), string_to_array(places, e'\x1e'), string_to_array(fingerprints, e'\x1e'),
      string_to_array(events, e'\x1e'), string_to_array(correlations, e'\x1e'), string_to_array(types, e'\x1e'),
      string_to_array(statuses, e'\x1e'), requests, chains, finalities, attempt_numbers, event_ids, times, codes, durations,
      string_to_array(reasons, e'\x1e', e'\x1d'), string_to_array(details, e'\x1e', e'\x1d'),
      string_to_array(responses, e'\x1e', e'\x1d'), next_attempts, deaths
    ) as f (
      is_state, webhook, accepted_at, delivery, tenant, message, place, fingerprint, event, correlation_id, type, status,
      is_request, chain, finality, attempt, event_id, time, code, duration_ms, reason, reason_detail, response,
      next_attempt_at, died_at
    )
  ),
  -- Those that meet another stored fact, and whether they are greater than it.
  compared as materialized (
    select f.is_request, f.delivery, f.accepted_at, f.chain, f.attempt, f.event_id, f.type, f.time, f.code, f.duration_ms, f.reason,
           f.reason_detail, f.response, stored,
           (stored.chain, stored.finality, stored.attempt, stored.event_id) < (f.chain, f.finality, f.attempt, f.event_id) as is_greater
    from fact f cross join lateral (
      select d.* from deliveries d
      where d.webhook = f.webhook and d.accepted_at = f.accepted_at and d.accepted_at between first_at and last_at
        and d.delivery = f.delivery limit 1
    ) as stored
    where f.is_state and stored.event_id <> f.event_id
  ),
  -- The requests that are not, or no longer, the greatest fact.
  written_attempts as (
    insert into attempts (accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason, reason_detail, response)
      select accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason, reason_detail, response
      from fact where not is_state and is_request
    union all
      select accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason, reason_detail, response
      from compared where is_request and not is_greater
    union all
      select (stored).accepted_at, (stored).time, (stored).duration_ms, (stored).delivery, (stored).event_id, (stored).chain,
             (stored).attempt, (stored).code, (stored).type, (stored).reason, (stored).reason_detail,
             (stored).response
      from compared where is_greater and (stored).type = any ('{DeliverySucceeded,DeliveryFailed,DeliveryDeadLettered}')
    on conflict do nothing
  )
  insert into deliveries as d (
    accepted_at, time, next_attempt_at, died_at, duration_ms, delivery, event_id, chain, attempt, code, finality, webhook,
    tenant, message, place, fingerprint, event, correlation_id, type, status, reason, reason_detail, response
  )
  select accepted_at, time, next_attempt_at, died_at, duration_ms, delivery, event_id, chain, attempt, code, finality, webhook,
         tenant, message, place, fingerprint, event, correlation_id, type, status, reason, reason_detail, response
  from fact where is_state
  on conflict (webhook, accepted_at, delivery) do update set
    time = excluded.time, next_attempt_at = excluded.next_attempt_at, died_at = excluded.died_at, duration_ms = excluded.duration_ms,
    event_id = excluded.event_id, chain = excluded.chain, attempt = excluded.attempt, code = excluded.code,
    finality = excluded.finality, correlation_id = excluded.correlation_id, type = excluded.type, status = excluded.status,
    reason = excluded.reason, reason_detail = excluded.reason_detail, response = excluded.response
  where (d.chain, d.finality, d.attempt, d.event_id) < (excluded.chain, excluded.finality, excluded.attempt, excluded.event_id);
end
$$;

-- A new build of the history can be made beside the live one. The first build has its tables in `public`, and each later build in
-- `delivery_history_<build>`. The schema `delivery_history` is the template of new builds and stays empty, because the
-- first build may be dropped. A migration that changes these tables or record_facts must change the template and every build.

-- Makes the tables and the function of a build in `build_schema`, like those in `template_schema`. It does nothing when
-- `build_schema` exists. Advisory lock deliveryHistoryBuilds (7007): one process at a time makes a build.
create function make_delivery_history(template_schema text, build_schema text) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7007);
  if to_regnamespace(build_schema) is not null then
    return;
  end if;
  execute format('create schema %I', build_schema);
  execute format('create table %I.deliveries (like %I.deliveries including all) partition by range (accepted_at)', build_schema, template_schema);
  execute format('create table %I.attempts (like %I.attempts including all) partition by range (accepted_at)', build_schema, template_schema);
  execute replace(
    pg_get_functiondef(format('%I.record_facts', template_schema)::regproc),
    format('FUNCTION %I.record_facts(', template_schema),
    format('FUNCTION %I.record_facts(', build_schema)
  );
  execute format('alter function %I.record_facts set search_path = %I', build_schema, build_schema);
end
$$;

select make_delivery_history('public', 'delivery_history');

-- Closes the history after the delivery log was moved to another engine: it drops the function that writes facts from every
-- build, so that a writer that waits for the lock fails. The rows stay.
create function drop_record_facts() returns void language plpgsql as $$
declare
  writer regprocedure;
begin
  for writer in select oid::regprocedure from pg_proc where proname = 'record_facts' loop
    execute 'drop function ' || writer;
  end loop;
end
$$;
