-- The message bus in Postgres: the records of accepted messages that wait for a dispatcher.
-- Producers and readers of a partition use the advisory lock busPartition (7003, partition).

-- A record holds 1-1000 messages. When the delivery log is in Postgres too, these rows are also the archive of the sealed bodies.
-- The adapter makes the partitions of the days before they are needed, and retention drops whole days.
create table messages (
  partition integer not null, -- partition of the bus, from 0
  "offset" bigint not null, -- grows within a partition in the order of commit
  day date not null, -- day (UTC) of the record's accepted_at
  record bytea not null, -- the encoded record; its message bodies are sealed
  primary key (partition, "offset", day) -- serves the records after an offset, and one record of a day
) partition by range (day);
-- Sealed bytes do not compress, so Postgres need not try.
alter table messages alter column record set storage external;

-- The offsets of a partition come from the sequence `messages_offset_<partition>`, which the adapter makes.

-- Appends records and returns the offset of the first. The others follow it. The records are one value, which is cut by `starts` (from 1) and `sizes`
-- in bytes, because arrays of bytea are slow to send. The lock is taken first and kept until the commit. So records become visible in the order of
-- their offsets, and the gap of a rollback is never filled.
create function produce_messages(bus_partition integer, days date[], starts integer[], sizes integer[], records bytea)
returns bigint language plpgsql volatile as $$
declare
  counter constant regclass := ('messages_offset_' || bus_partition)::regclass;
  first_offset bigint;
begin
  perform pg_advisory_xact_lock(7003, bus_partition);
  first_offset := nextval(counter);
  if cardinality(sizes) > 1 then
    perform setval(counter, first_offset + cardinality(sizes) - 1);
  end if;
  insert into messages (partition, "offset", day, record)
    select bus_partition, first_offset + i - 1, day, substring(records from start for size)
    from unnest(days, starts, sizes) with ordinality as item (day, start, size, i);
  return first_offset;
end
$$;

-- Returns the last assigned offset, or null before the first. It waits for the produces in progress. So a reader that reads after this call sees
-- every record that will ever exist up to that offset.
create function settled_offset(bus_partition integer) returns bigint language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock_shared(7003, bus_partition);
  return pg_sequence_last_value(('messages_offset_' || bus_partition)::regclass);
end
$$;

-- Returns the records after `after_offset` up to `last_offset`, in order: at most `at_most` of them, and none that begins
-- after `at_most_bytes`. The function has settings because Postgres plans the statement once, perhaps while the tables are empty. The plan must be an
-- index scan, with any statistics.
create function read_messages(bus_partition integer, after_offset bigint, last_offset bigint, at_most integer, at_most_bytes integer)
returns table ("offset" bigint, bytes bytea) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return query
    select counted."offset", counted.record from (
      select m."offset", m.record,
             sum(octet_length(m.record)) over (order by m."offset") - octet_length(m.record) as bytes_before
      from (
        select n."offset", n.record from messages n
        where n.partition = bus_partition and n."offset" > after_offset and n."offset" <= last_offset
        order by n."offset" limit at_most
      ) m
    ) counted
    where counted.bytes_before < at_most_bytes order by counted."offset";
end
$$;

-- Closes the bus after it was moved to another engine: a produce that waits for the lock then fails when it draws its offset.
-- The records stay.
create function drop_bus_partitions() returns void language plpgsql as $$
declare
  counter regclass;
begin
  for counter in
    select oid from pg_class where relkind = 'S' and relname ~ '^messages_offset_\d+$' and pg_table_is_visible(oid)
  loop
    execute 'drop sequence ' || counter;
  end loop;
end
$$;
