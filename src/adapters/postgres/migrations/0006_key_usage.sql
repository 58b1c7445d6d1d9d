-- Up Migration

-- When each API key was last used. Not a read model: no event says it, and a rebuild must not forget it.
create table key_usage (
  key_id text collate "C" primary key,
  last_accessed_at timestamptz not null
) with (fillfactor = 70); -- the same rows are written again and again: room for HOT updates
