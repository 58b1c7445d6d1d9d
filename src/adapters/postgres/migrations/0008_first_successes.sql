-- The event of a first success is the history of its delivery, so that the delivery needs no row in the delivery log. A first success is a
-- DeliverySucceeded of the first attempt, on the day (UTC) of the message's acceptance or on the next day. Only the row of a first success has
-- `delivery` and `accepted_at`. The two columns are null in all other rows, and in all rows if the delivery log is not in this database.
alter table day_events
  add column delivery uuid,
  add column accepted_at timestamptz; -- when the API accepted the message

-- Serves a webhook's history with its cursor, and one delivery by its whole key. The `substr` is the webhook's id in the name of a stream of attempts.
create index day_events_history on day_events (substr(stream, 10, 26), accepted_at, delivery) where delivery is not null;
-- Serves one delivery by its id alone.
create index day_events_by_delivery on day_events (delivery) where delivery is not null;

-- Returns the same as read_events, and also `in_history`: whether the event alone is the history of its delivery.
create function read_log(after bigint, at_most integer, with_commands boolean, with_days boolean, families text[])
returns table ("position" bigint, id uuid, revision integer, stream text, type text, data text, metadata text, in_history boolean)
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
  first_day date;
  last_day date;
begin
  if with_days then
    select min(m.day), max(m.day) into first_day, last_day from day_event_marks m where m.position > after - 8192;
  end if;
  return query
    select w.position, w.id, w.revision, w.stream, w.type, w.data, w.metadata, w.in_history
    from (
      select f.*, sum(octet_length(f.data)) over (order by f.position rows between unbounded preceding and 1 preceding) as bytes_before
      from (
        select e.position, e.id, e.revision, e.stream, e.type,
               case when families is null or split_part(e.stream, '-', 1) = any (families) then e.data end as data, e.metadata, e.in_history
        from (
          (select c.position, c.id, c.revision, c.stream, c.type, c.data, c.metadata, false as in_history from command_events c
           where with_commands and c.position > after order by c.position limit at_most)
          union all
          (select d.position, d.id, d.revision, d.stream, d.type, d.data, d.metadata, d.delivery is not null from day_events d
           where d.day between first_day and last_day and d.position > after order by d.position limit at_most)
        ) e
        order by e.position limit at_most
      ) f
    ) w
    where coalesce(w.bytes_before, 0) < 4194304
    order by w.position;
end $$;

-- The functions that append, which take the advisory lock eventLog (7001), get two more parameters: the delivery and accepted_at of each event that
-- is a first success, or else null.
create function append_events(
  streams text, days date[], item_streams integer[], item_expected integer[], item_counts integer[],
  event_items integer[], event_ordinals integer[], ids uuid[], types text, datas text, metadatas text,
  deliveries uuid[], accepted timestamptz[]
) returns text language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off set lock_timeout = '5s' as $$
declare
  names text[] := string_to_array(streams, e'\x1e');
  total integer := cardinality(ids);
  first_day date;
  last_day date;
  heads integer[];
  repeat_items integer[];
  repeat_ordinals integer[];
  repeat_streams text[];
  repeat_revisions integer[];
  repeat_positions bigint[];
  first_revisions integer[] := array_fill(null::integer, array[cardinality(item_streams)]);
  outcomes text[] := array_fill(null::text, array[cardinality(item_streams)]);
  first_position bigint;
  events_so_far integer := 0; -- number of events in the items so far
  stream_index integer;
  head integer;
  expected integer;
  is_expected boolean;
  in_stream integer;
  at_expected integer;
  is_first_in_stream boolean;
  last_revision integer;
  last_position bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'events are appended at READ COMMITTED: a snapshot from before the log lock would miss the newest'
      using errcode = 'invalid_transaction_state';
  end if;
  if total <> cardinality(event_items) then
    raise exception 'an event id is not a UUID' using errcode = 'invalid_parameter_value';
  end if;
  if total > 8192 then -- see day_event_marks
    raise exception 'more than 8192 events in one append' using errcode = 'program_limit_exceeded';
  end if;

  perform pg_advisory_xact_lock(7001); -- first, so that each statement below sees the last append

  -- Lateral with a limit makes one index probe for each row. Without it a plan may join and read the whole index.
  if days is null then
    heads := array(
      select coalesce((select e.revision from command_events e where e.stream = n.name order by e.revision desc limit 1), -1)
      from unnest(names) with ordinality n (name, place) order by n.place);
    select array_agg(u.item), array_agg(u.ordinal), array_agg(stored.stream), array_agg(stored.revision), array_agg(stored.position)
    into repeat_items, repeat_ordinals, repeat_streams, repeat_revisions, repeat_positions
    from unnest(event_items, event_ordinals, ids) u (item, ordinal, id)
    cross join lateral (select e.stream, e.revision, e.position from command_events e where e.id = u.id limit 1) stored;
  else
    select min(d), max(d) into first_day, last_day from unnest(days) d; -- prunes the other partitions before the scans begin
    heads := array(
      select coalesce((select e.revision from day_events e
                       where e.day between first_day and last_day and e.day = n.day and e.stream = n.name
                       order by e.revision desc limit 1), -1)
      from unnest(names, days) with ordinality n (name, day, place) order by n.place);
    select array_agg(u.item), array_agg(u.ordinal), array_agg(stored.stream), array_agg(stored.revision), array_agg(stored.position)
    into repeat_items, repeat_ordinals, repeat_streams, repeat_revisions, repeat_positions
    from unnest(event_items, event_ordinals, ids) u (item, ordinal, id)
    cross join lateral (select e.stream, e.revision, e.position from day_events e
                        where e.day between first_day and last_day and e.day = days[item_streams[u.item]] and e.id = u.id
                        limit 1) stored;
  end if;

  for i in 1 .. cardinality(item_streams) loop
    stream_index := item_streams[i];
    head := heads[stream_index];
    expected := item_expected[i];
    events_so_far := events_so_far + item_counts[i];
    is_expected := expected = -2 or expected = head or (expected = -3 and head >= 0);
    if repeat_items is null or i <> all (repeat_items) then
      if is_expected then
        if first_position is null then first_position := nextval('event_positions'); end if;
        first_revisions[i] := head + 1;
        head := head + item_counts[i];
        heads[stream_index] := head;
        outcomes[i] := 'a:' || head || ':' || first_position + events_so_far - 1;
      else
        outcomes[i] := 'c:' || head;
      end if;
    else
      -- Some of the item's ids are stored. The rules are EventStoreDB's, so that both stores return the same outcome: for an
      -- exact revision below the head, EventStoreDB compares the ids that follow that revision.
      select count(*) filter (where stored.stream = names[stream_index]),
             count(*) filter (where stored.stream = names[stream_index] and stored.revision = expected + 1 + stored.ordinal),
             coalesce(bool_or(stored.stream = names[stream_index] and stored.ordinal = 0), false),
             max(stored.revision) filter (where stored.ordinal = item_counts[i] - 1),
             max(stored.position) filter (where stored.ordinal = item_counts[i] - 1)
      into in_stream, at_expected, is_first_in_stream, last_revision, last_position
      from unnest(repeat_items, repeat_ordinals, repeat_streams, repeat_revisions, repeat_positions)
        stored (item, ordinal, stream, revision, position)
      where stored.item = i;
      if item_counts[i] = (case when is_expected then in_stream when expected >= -1 and expected < head then at_expected end) then
        outcomes[i] := 'a:' || last_revision || ':' || last_position || ':repeat';
      elsif is_first_in_stream or not is_expected then
        outcomes[i] := 'c:' || head;
      else
        outcomes[i] := 'r';
      end if;
    end if;
  end loop;

  if first_position is not null then
    if total > 1 then perform setval('event_positions', first_position + total - 1); end if;
    if days is null then
      insert into command_events (position, stream, revision, id, type, data, metadata)
      select first_position + e.place - 1, names[item_streams[e.item]], first_revisions[e.item] + e.ordinal, e.id, e.type, e.data, e.metadata
      from unnest(event_items, event_ordinals, ids, string_to_array(types, e'\x1e'), string_to_array(datas, e'\x1e'), string_to_array(metadatas, e'\x1e'))
        with ordinality e (item, ordinal, id, type, data, metadata, place)
      where first_revisions[e.item] is not null;
    else
      insert into day_event_marks (position, day)
      select first_position, d.day from (select distinct day from unnest(days) day) d
      where not exists (select from day_event_marks m where m.position > first_position + total - 8192 and m.day = d.day);
      insert into day_events (position, day, stream, revision, id, type, data, metadata, delivery, accepted_at)
      select first_position + e.place - 1, days[item_streams[e.item]], names[item_streams[e.item]], first_revisions[e.item] + e.ordinal, e.id, e.type, e.data, e.metadata, e.delivery, e.accepted_at
      from unnest(event_items, event_ordinals, ids, string_to_array(types, e'\x1e'), string_to_array(datas, e'\x1e'), string_to_array(metadatas, e'\x1e'),
        deliveries, accepted) with ordinality e (item, ordinal, id, type, data, metadata, delivery, accepted_at, place)
      where first_revisions[e.item] is not null;
    end if;
  end if;
  return array_to_string(outcomes, ',');
end $$;

create function append_at_revisions(
  expected_start text, streams text, days date[], event_streams integer[], revisions integer[], ids uuid[], types text, datas text, metadatas text,
  deliveries uuid[], accepted timestamptz[]
) returns bigint language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off set lock_timeout = '5s' as $$
declare
  names text[] := string_to_array(streams, e'\x1e');
  total integer := cardinality(ids);
  first_position bigint;
begin
  if total > 8192 then -- see day_event_marks
    raise exception 'more than 8192 events in one append' using errcode = 'program_limit_exceeded';
  end if;
  if expected_start <> pg_postmaster_start_time()::text then
    raise exception 'the server was started after the revisions were read' using errcode = 'object_not_in_prerequisite_state';
  end if;
  perform pg_advisory_xact_lock(7001);
  first_position := nextval('event_positions');
  if total > 1 then perform setval('event_positions', first_position + total - 1); end if;
  insert into day_event_marks (position, day)
  select first_position, d.day from (select distinct day from unnest(days) day) d
  where not exists (select from day_event_marks m where m.position > first_position + total - 8192 and m.day = d.day);
  insert into day_events (position, day, stream, revision, id, type, data, metadata, delivery, accepted_at)
  select first_position + e.place - 1, days[e.stream], names[e.stream], e.revision, e.id, e.type, e.data, e.metadata, e.delivery, e.accepted_at
  from unnest(event_streams, revisions, ids, string_to_array(types, e'\x1e'), string_to_array(datas, e'\x1e'), string_to_array(metadatas, e'\x1e'),
    deliveries, accepted) with ordinality e (stream, revision, id, type, data, metadata, delivery, accepted_at, place);
  return first_position;
end $$;

-- During an upgrade, processes of version 0.2 still call the former functions. Their events stay without the two columns.
create or replace function read_events(after bigint, at_most integer, with_commands boolean, with_days boolean, families text[])
returns table ("position" bigint, id uuid, revision integer, stream text, type text, data text, metadata text) language plpgsql stable as $$
begin
  return query select r.position, r.id, r.revision, r.stream, r.type, r.data, r.metadata
               from read_log(after, at_most, with_commands, with_days, families) r;
end $$;
create or replace function append_events(
  streams text, days date[], item_streams integer[], item_expected integer[], item_counts integer[],
  event_items integer[], event_ordinals integer[], ids uuid[], types text, datas text, metadatas text
) returns text language plpgsql as $$
begin
  return append_events(streams, days, item_streams, item_expected, item_counts, event_items, event_ordinals, ids, types, datas, metadatas,
                       null::uuid[], null::timestamptz[]);
end $$;
create or replace function append_at_revisions(
  expected_start text, streams text, days date[], event_streams integer[], revisions integer[], ids uuid[], types text, datas text, metadatas text
) returns bigint language plpgsql as $$
begin
  return append_at_revisions(expected_start, streams, days, event_streams, revisions, ids, types, datas, metadatas,
                             null::uuid[], null::timestamptz[]);
end $$;
