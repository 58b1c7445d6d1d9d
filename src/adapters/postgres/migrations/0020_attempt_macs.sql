-- The MACs of attempts, and what is kept of the audit log outside of its events.

-- Whether a process writes the MACs of attempts. From AttemptMacsStarted on, every attempt must have one, so this event is appended only when every live
-- process writes them.
alter table live_processes add column writes_attempt_macs boolean not null default false;

-- The signatures of witnesses, as lines of the signed note after the signature of the log.
alter table log_heads add column cosignatures text not null default '';

-- The last head that each tenant got as a message (kolbak.log.head). The next message has a proof that the log extends it.
create table log_sent_heads (
  tenant text collate "C" primary key, -- serves the next message of the tenant
  note text not null, -- the signed note
  sent_at timestamptz not null default clock_timestamp()
);

-- The leaves of the batches that were sealed before a move to another event store, which orders attempts differently. A row is written only by the move.
create table log_batch_leaves (
  revision integer primary key, -- of the BatchSealed in the stream of the log; serves the proof of an attempt
  hashes bytea not null -- 32 bytes for each event of the batch, in order
);
