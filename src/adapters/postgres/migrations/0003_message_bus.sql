-- Up Migration

-- The queue of accepted messages. "offset" grows within a partition in the order of commit; `day` is that of the record's
-- accepted_at, so that retention drops whole days. Where the delivery log keeps no payloads of its own, this is their archive.
-- Day partitions are made by the adapter, before they are needed. Advisory locks of this file: (7003, partition).
create table messages (
  partition integer not null,
  "offset" bigint not null,
  day date not null,
  record bytea not null,
  -- Reads on from an offset, and one record of a known day.
  primary key (partition, "offset", day)
) partition by range (day);
-- Sealed bytes do not compress: trying costs time for nothing.
alter table messages alter column record set storage external;

-- The offsets of each partition come from a sequence of its own, `messages_offset_<partition>`, which the adapter makes.

-- Appends records (cut out of one value: arrays of bytea cross slowly) and answers the offset of the first; the others
-- follow it. The lock comes first and is held to the commit, so that what becomes visible does so in the order of offsets,
-- and a gap that a rollback leaves never fills late.
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

-- The last offset given out, or null before the first, at a moment when no produce of this partition is under way: whoever
-- reads after this call sees all there will ever be up to it.
create function settled_offset(bus_partition integer) returns bigint language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock_shared(7003, bus_partition);
  return pg_sequence_last_value(('messages_offset_' || bus_partition)::regclass);
end
$$;

-- Records after `known` up to `through`, in order, at most so many and (beyond the first) so many bytes. The settings: the
-- plan is made once, perhaps while the tables are empty, and must be index scans whatever the statistics say at that moment.
create function read_messages(bus_partition integer, known bigint, through bigint, at_most integer, at_most_bytes integer)
returns table ("offset" bigint, bytes bytea) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return query
    select counted."offset", counted.record from (
      select m."offset", m.record,
             sum(octet_length(m.record)) over (order by m."offset") - octet_length(m.record) as bytes_before
      from (
        select n."offset", n.record from messages n
        where n.partition = bus_partition and n."offset" > known and n."offset" <= through
        order by n."offset" limit at_most
      ) m
    ) counted
    where counted.bytes_before < at_most_bytes order by counted."offset";
end
$$;
