-- Lists of deliveries of a whole tenant, and filters of replay jobs.

-- Serves the deliveries of a tenant that have not arrived, by status. The template and every build of the history get the index.
do $$
declare
  build regclass;
begin
  for build in select oid::regclass from pg_class where relname = 'deliveries' and relkind = 'p' loop
    execute format('create index deliveries_by_tenant on %s (tenant, status, accepted_at, delivery) where status <> ''success''', build);
  end loop;
end
$$;

alter table replay_jobs
  add column delivery_event text, -- name of the event of the deliveries that the job replays, or null for all
  add column delivery_reason text, -- last reason of the deliveries that the job replays, or null for all
  add column delivery_code integer, -- last HTTP status of the deliveries that the job replays, or null for all
  add column expected integer; -- number of deliveries that the job had to replay when it began, or null if they were too many to count
