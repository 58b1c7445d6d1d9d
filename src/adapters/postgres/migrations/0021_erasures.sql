-- The erasure of tenants.

-- A destroyed key (`wrapped` is null) has the id of the event that asked for it, sealed under the master key. So nobody with only the password of the
-- database can make a key look as if Kolbak had destroyed it.
alter table data_keys add column erased_by bytea;
