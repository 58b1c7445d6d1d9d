-- The request that asked for a replay job.

-- Kolbak's own id of the request that asked for the job. Each DeliveryReplayed of the job names the job and this request. Null for jobs of version 0.2.
alter table replay_jobs add column request_id text;
