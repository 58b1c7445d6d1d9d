-- The table and the index that the dashboard needs in addition to the read models.

-- The one-time links to the dashboard that a start prints on a terminal. A code is stored as its SHA-256, and its row is deleted when it is used.
create table ui_start_codes (
  code_hash bytea primary key,
  client_id text collate "C" not null, -- the client that the link signs in
  expires_at timestamptz not null
);

-- Serves the list of jobs, newest first.
create index replay_jobs_by_tenant on replay_jobs (tenant, id);
