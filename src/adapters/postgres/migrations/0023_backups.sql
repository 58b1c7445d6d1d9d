-- The backups that `operate backup` has made, so that an operator sees the age of the last one.
create table backups (
  made_at timestamptz primary key, -- the moment of the database that the backup holds
  bytes bigint not null, -- the size of the compressed backup
  row_count bigint not null,
  sha256 text collate "C" not null -- of the text of the backup, as `operate backup` prints it
);
