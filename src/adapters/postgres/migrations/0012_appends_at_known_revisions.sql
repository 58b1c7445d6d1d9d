-- Up Migration

-- Appending to day streams whose last revisions the caller knows: no stream and no id is looked up. Where the caller is wrong
-- a unique index says so, nothing is appended, and append_events decides.

-- The last revisions of day streams (-1: none), and the start of this server. Not under the log lock: they may be old at once.
create function day_heads(streams text, days date[], out started text, out heads integer[]) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
  first_day date;
  last_day date;
begin
  select min(d), max(d) into first_day, last_day from unnest(days) d;
  started := pg_postmaster_start_time()::text;
  heads := array(
    select coalesce((select e.revision from day_events e
                     where e.day between first_day and last_day and e.day = n.day and e.stream = n.name
                     order by e.revision desc limit 1), -1)
    from unnest(string_to_array(streams, e'\x1e'), days) with ordinality n (name, day, place) order by n.place);
end $$;

-- Appends events, and answers the position of the first; the others follow it. Fails with a unique violation when a revision or
-- an id is taken, and with object_not_in_prerequisite_state when this server is not the one the revisions were learned from:
-- one that was put back to an older state would get a gap.
--   streams: distinct names; days: theirs; event_streams: index (from 1) of each event's stream; revisions: of each event
create function append_at_revisions(
  known_started text, streams text, days date[], event_streams integer[], revisions integer[], ids uuid[], types text, datas text, metadatas text
) returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off set lock_timeout = '5s' as $$
declare
  names text[] := string_to_array(streams, e'\x1e');
  total integer := cardinality(ids);
  base bigint;
begin
  if total > 8192 then -- see day_event_marks
    raise exception 'more than 8192 events in one append' using errcode = 'program_limit_exceeded';
  end if;
  if known_started <> pg_postmaster_start_time()::text then
    raise exception 'the server has been started since' using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform pg_advisory_xact_lock(7001);
  base := nextval('event_positions');
  if total > 1 then perform setval('event_positions', base + total - 1); end if;
  insert into day_event_marks (position, day)
  select base, d.day from (select distinct day from unnest(days) day) d
  where not exists (select from day_event_marks m where m.position > base + total - 8192 and m.day = d.day);
  insert into day_events (position, day, stream, revision, id, type, data, metadata)
  select base + e.place - 1, days[e.stream], names[e.stream], e.revision, e.id, e.type, e.data, e.metadata
  from unnest(event_streams, revisions, ids, string_to_array(types, e'\x1e'), string_to_array(datas, e'\x1e'), string_to_array(metadatas, e'\x1e'))
    with ordinality e (stream, revision, id, type, data, metadata, place);
  return base;
end $$;
