-- Up Migration

-- What `kolbak move` does to an engine that is left: whoever still would write there finds that it cannot. Their data stay.

create function drop_projection_tables(projection text, build integer) returns void language plpgsql as $$
begin
  execute format('drop schema %I cascade', 'projection_' || projection || '_' || build);
end
$$;

-- A produce that waits for the partition's lock fails when it draws its offset.
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

-- The function that writes facts, of every generation.
create function drop_record_facts() returns void language plpgsql as $$
declare
  writer regprocedure;
begin
  for writer in select oid::regprocedure from pg_proc where proname = 'record_facts' loop
    execute 'drop function ' || writer;
  end loop;
end
$$;
