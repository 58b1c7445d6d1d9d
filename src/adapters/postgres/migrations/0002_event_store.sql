-- The event log in Postgres. The order of positions is the order of commits, because an append takes one lock, then draws positions, and keeps the
-- lock until its commit. So a reader that asks for `position > checkpoint` never misses an event.
-- The lock is the advisory lock eventLog (7001).

-- The functions below have settings because Postgres plans their statements once, perhaps while the tables are still empty. Every plan must be an
-- index scan over the partitions that the arguments select, with any statistics.

-- The positions of all events in both tables. They are drawn only under the lock. A rollback leaves a gap that is never filled.
create sequence event_positions cache 1;

-- Events of command streams, kept for ever. Data and metadata are text and never jsonb, because jsonb would change their bytes.
create table command_events (
  position bigint not null,
  stored_at timestamptz not null default clock_timestamp(),
  id uuid not null,
  revision integer not null, -- place in the stream, from 0
  stream text collate "C" not null, -- `<family>-<id>`
  type text collate "C" not null,
  data text not null, -- JSON
  metadata text not null, -- JSON
  constraint command_events_position primary key (position), -- serves subscriptions, by position > checkpoint
  constraint command_events_stream unique (stream, revision), -- serves reading a stream, and its last revision for an append
  constraint command_events_id unique (id) -- serves finding out whether an append is a repeat
);

-- Events of day streams (routing and attempts), partitioned by the day in the stream's name, so that retention drops whole
-- days. Event ids are unique within a day. The adapter makes the partitions before they are needed.
create table day_events (
  position bigint not null,
  stored_at timestamptz not null default clock_timestamp(),
  id uuid not null,
  revision integer not null, -- place in the stream, from 0
  day date not null, -- day at the end of the stream's name (UTC)
  stream text collate "C" not null, -- `<family>-<id>-<yyyymmdd>`
  type text collate "C" not null,
  data text not null, -- JSON
  metadata text not null, -- JSON
  constraint day_events_stream unique (stream, revision, day), -- serves reading a stream, and its last revision for an append
  constraint day_events_id unique (id, day) -- serves finding out whether an append is a repeat
) partition by range (day);
-- Serves subscriptions, by position > checkpoint.
create index day_events_position on day_events (position);

-- Marks say which days got events near which positions. A day that gets events has a mark at least every 8,192 positions. So a reader at position p
-- opens only the days with a mark above p - 8192, even if there are many partitions.
create table day_event_marks (
  position bigint not null,
  day date not null,
  primary key (position, day) -- serves the days with a mark above a position
);

-- Returns the newest position of the command events, of the day events or of both, or null when there is none.
create function events_head(with_commands boolean, with_days boolean) returns bigint language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
  first_day date;
  last_day date;
begin
  if with_days then
    select min(m.day), max(m.day) into first_day, last_day from day_event_marks m
    where m.position > (select max(position) from day_event_marks) - 8192;
  end if;
  return greatest(
    (select e.position from command_events e where with_commands order by e.position desc limit 1),
    (select e.position from day_events e where e.day between first_day and last_day order by e.position desc limit 1)
  );
end $$;

-- Returns the next events after a position, in order: at most `at_most` of them, and none that begins after 4 MiB of data.
-- `families` lists the families of the streams to read, or is null for all. An event of another family comes without data,
-- so that the reader's checkpoint moves past it. Both tables are read in one statement. Two statements would see two ends of the log, and a merge of
-- their rows could skip an event that was committed between them.
create function read_events(after bigint, at_most integer, with_commands boolean, with_days boolean, families text[])
returns table ("position" bigint, id uuid, revision integer, stream text, type text, data text, metadata text)
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
    select w.position, w.id, w.revision, w.stream, w.type, w.data, w.metadata
    from (
      select f.*, sum(octet_length(f.data)) over (order by f.position rows between unbounded preceding and 1 preceding) as bytes_before
      from (
        select e.position, e.id, e.revision, e.stream, e.type,
               case when families is null or split_part(e.stream, '-', 1) = any (families) then e.data end as data, e.metadata
        from (
          (select c.position, c.id, c.revision, c.stream, c.type, c.data, c.metadata from command_events c
           where with_commands and c.position > after order by c.position limit at_most)
          union all
          (select d.position, d.id, d.revision, d.stream, d.type, d.data, d.metadata from day_events d
           where d.day between first_day and last_day and d.position > after order by d.position limit at_most)
        ) e
        order by e.position limit at_most
      ) f
    ) w
    where coalesce(w.bytes_before, 0) < 4194304
    order by w.position;
end $$;

-- Appends items. An item is some events for one stream, with its own expected revision and its own outcome; an item sees the
-- items before it. No event id occurs twice in one call. Texts are joined by U+001E, which JSON never holds unescaped.
--   streams: distinct names; days: the day of each, or null when these are command streams
--   item_streams: index (from 1) of each item's stream
--   item_expected: each item's expected revision, or -1 for no stream, -2 for any revision, -3 for an existing stream
--   item_counts: how many events each item has
--   event_items: index (from 1) of each event's item; event_ordinals: its place (from 0) in the item
-- Returns one outcome for each item, joined by commas:
--   `a:<revision>:<position>`: appended; revision and position are those of the item's last event
--   `a:<revision>:<position>:repeat`: a repeat; the events were appended before, maybe with other data
--   `c:<revision>`: a conflict; the revision is the stream's actual one
--   `r`: refused, because an event elsewhere has an id of the item
create function append_events(
  streams text, days date[], item_streams integer[], item_expected integer[], item_counts integer[],
  event_items integer[], event_ordinals integer[], ids uuid[], types text, datas text, metadatas text
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
      insert into day_events (position, day, stream, revision, id, type, data, metadata)
      select first_position + e.place - 1, days[item_streams[e.item]], names[item_streams[e.item]], first_revisions[e.item] + e.ordinal, e.id, e.type, e.data, e.metadata
      from unnest(event_items, event_ordinals, ids, string_to_array(types, e'\x1e'), string_to_array(datas, e'\x1e'), string_to_array(metadatas, e'\x1e'))
        with ordinality e (item, ordinal, id, type, data, metadata, place)
      where first_revisions[e.item] is not null;
    end if;
  end if;
  return array_to_string(outcomes, ',');
end $$;

-- Returns the last revisions of day streams (-1 for a stream without events), and when this server was started. It does not
-- take the lock, so the revisions may be out of date at once.
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

-- Appends events to day streams whose last revisions the caller knows, without looking up any stream or id: this costs half of
-- append_events (58 instead of 108 us of Postgres an event). Returns the position of the first event; the others follow it.
-- Fails with unique_violation when a revision or an id is taken; nothing is appended then, and append_events decides.
-- Fails with object_not_in_prerequisite_state when the server was started after the revisions were read, because a server
-- restored to an older state would get a gap in a stream.
--   streams: distinct names; days: the day of each
--   event_streams: index (from 1) of each event's stream; revisions: the revision of each event
create function append_at_revisions(
  expected_start text, streams text, days date[], event_streams integer[], revisions integer[], ids uuid[], types text, datas text, metadatas text
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
  insert into day_events (position, day, stream, revision, id, type, data, metadata)
  select first_position + e.place - 1, days[e.stream], names[e.stream], e.revision, e.id, e.type, e.data, e.metadata
  from unnest(event_streams, revisions, ids, string_to_array(types, e'\x1e'), string_to_array(datas, e'\x1e'), string_to_array(metadatas, e'\x1e'))
    with ordinality e (stream, revision, id, type, data, metadata, place);
  return first_position;
end $$;
