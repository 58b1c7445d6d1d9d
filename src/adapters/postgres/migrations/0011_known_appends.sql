-- Up Migration

-- append_events says of an item that is a repeat that it is one, `a:<revision>:<position>:known`: what is stored is then what
-- came first, which may differ from what was sent now.
do $$
declare
  told constant text := $old$outcomes[i] := 'a:' || last_revision || ':' || last_position;$old$;
  definition constant text := pg_get_functiondef('append_events'::regproc);
begin
  if position(told in definition) = 0 then
    raise exception 'append_events is not as it was made';
  end if;
  execute replace(definition, told, $new$outcomes[i] := 'a:' || last_revision || ':' || last_position || ':known';$new$);
end
$$;
