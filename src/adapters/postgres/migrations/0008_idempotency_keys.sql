-- Up Migration

-- Requests that callers named by an Idempotency-Key, so that a repeated one gets the answer of the first. Not a read model:
-- no event says it. Aged out a day after the first request.
create table idempotency_keys (
  tenant text collate "C" not null,
  caller text collate "C" not null,
  route text collate "C" not null,
  key text collate "C" not null,
  request_hmac text not null, -- of all that must be the same again: path, scopes, body
  claim uuid not null, -- of the request that carries it out now, or did so last
  claimed_until timestamptz not null, -- until then no other request carries it out too
  plan bytea, -- sealed: ids and secrets, chosen before anything was stored under them
  answer bytea, -- sealed; null while there is none
  expires_at timestamptz not null,
  primary key (tenant, caller, route, key)
);
create index idempotency_keys_by_age on idempotency_keys (expires_at); -- dropping what has expired
