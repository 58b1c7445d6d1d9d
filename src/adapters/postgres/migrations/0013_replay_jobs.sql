-- Up Migration

-- Replays of many deliveries of a webhook that one request asked for. Not a read model: what a job does to deliveries is in
-- their events, the job itself is here alone. Aged out with the history once it is over.
create table replay_jobs (
  id text collate "C" primary key,
  tenant text collate "C" not null,
  webhook text collate "C" not null,
  key_id text collate "C", -- the key that created the webhook, which may look at the job and cancel it
  actor text not null, -- who asked, for the events
  since timestamptz not null,
  until timestamptz not null,
  delivery_status text, -- of the deliveries; null: failed and discarded ones
  status text not null default 'running', -- running, completed, cancelled, failed
  reason text, -- why it failed
  replayed integer not null default 0,
  skipped integer not null default 0,
  pages integer not null default 0, -- that are done: whoever writes says which page it has at hand, and is too late when that one is done
  cursor jsonb, -- the last delivery of the last page that is done
  page jsonb, -- the page at hand, chosen before anything of it is appended
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
create unique index replay_jobs_running on replay_jobs (webhook) where status = 'running'; -- one at a time
create index replay_jobs_active on replay_jobs (id) where status = 'running' or page is not null; -- what there is to do
create index replay_jobs_by_age on replay_jobs (finished_at); -- dropping what is old
