-- Up Migration

-- record_facts looks for what stands there in the days of its facts alone: with a month of partitions, half of the cost of a
-- small batch was to open all of them. The bounds must be variables: what a plan learns while it runs opens them first.
do $$
declare
  definition text;
  began constant text := e'\nbegin\n  perform pg_advisory_xact_lock(7006);';
  found_by constant text := 'd.accepted_at = f.accepted_at and';
begin
  for definition in select pg_get_functiondef(oid) from pg_proc where proname = 'record_facts' loop
    if position(began in definition) = 0 or position(found_by in definition) = 0 then
      raise exception 'record_facts is not as it was made';
    end if;
    definition := replace(definition, began, e'
declare
  first_at timestamptz;
  last_at timestamptz;
begin
  select min(a), max(a) into first_at, last_at from unnest(accepted) a;
  perform pg_advisory_xact_lock(7006);');
    execute replace(definition, found_by, found_by || ' d.accepted_at between first_at and last_at and');
  end loop;
end
$$;
