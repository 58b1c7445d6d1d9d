-- Engines, data keys and processes.

-- Rules for all files of this folder:
-- * They run in the order of their numbers, each once and in its own transaction (see ../migrate.ts).
-- * Migrations only go forward. A file that has been released never changes; a change of the schema is a new file.
-- * Leases, claims and defaults use Postgres's clock. The times of messages and events come from the clock of the process that
--   accepted or recorded them, and so do the times of the API's own tables.
-- * Advisory locks have numbers and names in ../advisory-locks.ts.

-- The engine behind each port. The service refuses to start when a port has another engine than at the last start.
create table engines (
  port text primary key, -- event_store, message_bus or delivery_log
  identity text not null, -- adapter's name, a hyphen, and an id of the engine
  since timestamptz not null default clock_timestamp()
);

-- The random data keys, each wrapped by the master key. They cannot be rebuilt from events, so they need a backup.
create table data_keys (
  id integer generated always as identity primary key, -- a sealed value contains the number of the key that opens it
  owner text not null, -- tenant id, or `service`
  purpose text not null, -- seal, fingerprint, or the name of one of the service's look-ups
  wrapped bytea, -- the key, encrypted by the master key; null once it is destroyed, which erases what it sealed
  created_at timestamptz not null default clock_timestamp(),
  unique (owner, purpose) -- serves the keys of an owner
);

-- Leases. A lease is a right with a name (for a bus partition, a projection or the jobs) that one process has until the lease runs out.
create table leases (
  name text primary key,
  owner text not null, -- id of the process, new at each of its starts
  until timestamptz not null -- another process may take the lease after this time
);

-- Heartbeats of the running processes. Limits are shared between the processes of a role that were seen in the last 5 s.
create table live_processes (
  id text primary key, -- the same id as leases.owner
  roles text[] not null, -- api, dispatcher, projector
  seen_at timestamptz not null -- time of the last heartbeat; a row is deleted an hour after it
);
