/**
 * The names of the projections, in the table `projections`, logs, metrics and `Projection-Lag`. The process manager `key_deleted_manager`
 * is missing here, because no other file refers to it (dispatch/key-deleted.ts).
 */
export const projectionNames = {
  tenants: 'tenants',
  keys: 'api_keys',
  webhooks: 'webhooks',
  keyVersions: 'key_versions',
  webhookVersions: 'webhook_versions',
  audit: 'audit',
  deliveries: 'deliveries',
  endpointManager: 'endpoint_manager',
  erasureManager: 'erasure_manager',
} as const
