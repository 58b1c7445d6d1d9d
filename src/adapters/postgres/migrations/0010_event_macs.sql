-- The MACs of command events.

-- Whether a process writes MACs. Processes of version 0.2 do not. From LogStarted on, every command event must have a MAC, so LogStarted is appended
-- only when no such process lives.
alter table live_processes add column writes_macs boolean not null default false;
