-- Up Migration

-- The history of deliveries stands in generations, so that it can be built anew beside the one that is read: the first in
-- `public`, the others in `delivery_history_<generation>`. A migration that changes the tables or `record_facts` changes them
-- in the pattern, `delivery_history`, and in every generation that there is.
-- Advisory locks of this file: 7007, making generations.

-- Makes the tables and the function of a history in a schema, like those in another; where the schema is there it does nothing.
create function make_delivery_history(pattern text, made text) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7007);
  if to_regnamespace(made) is not null then
    return;
  end if;
  execute format('create schema %I', made);
  execute format('create table %I.deliveries (like %I.deliveries including all) partition by range (accepted_at)', made, pattern);
  execute format('create table %I.attempts (like %I.attempts including all) partition by range (accepted_at)', made, pattern);
  execute replace(
    pg_get_functiondef(format('%I.record_facts', pattern)::regproc),
    format('FUNCTION %I.record_facts(', pattern),
    format('FUNCTION %I.record_facts(', made)
  );
  execute format('alter function %I.record_facts set search_path = %I', made, made);
end
$$;

-- The pattern outlives the first generation.
select make_delivery_history('public', 'delivery_history');
