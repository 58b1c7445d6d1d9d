-- The tables of the API.

-- The time of the last use of each API key. No event records a use, so this is not a read model, and a rebuild does not change it.
create table key_usage (
  key_id text collate "C" primary key,
  last_accessed_at timestamptz not null -- time of the latest request with the key
) with (fillfactor = 70); -- the same rows are updated repeatedly, so there is room for HOT updates

-- Requests with an Idempotency-Key, so that a repeated request gets the first response. Rows are deleted a day after the
-- first request.
create table idempotency_keys (
  tenant text collate "C" not null,
  caller text collate "C" not null, -- the client or API key that sent the request
  route text collate "C" not null, -- operation id of the route
  key text collate "C" not null, -- value of the header Idempotency-Key
  request_hmac text not null, -- HMAC of the path, scopes and body, which must be the same in a repeated request
  claim uuid not null, -- id of the request that does the work now, or that did it last
  claimed_until timestamptz not null, -- no other request may do the work before this time
  plan bytea, -- sealed: ids and secrets that were chosen before anything was stored under them
  answer bytea, -- the response, sealed; null until there is one
  expires_at timestamptz not null, -- from then on the key counts as new
  primary key (tenant, caller, route, key)
);
-- Serves deleting expired rows.
create index idempotency_keys_by_age on idempotency_keys (expires_at);
