/** The names of all projections. They identify rows of the table `projections`, and appear in logs, metrics and `Projection-Lag`. */
export const projectionNames = {
  tenants: 'tenants',
  keys: 'api_keys',
  webhooks: 'webhooks',
  keyVersions: 'key_versions',
  webhookVersions: 'webhook_versions',
  audit: 'audit',
  deliveries: 'deliveries',
  endpointManager: 'endpoint_manager',
} as const
export type ProjectionName = (typeof projectionNames)[keyof typeof projectionNames]
