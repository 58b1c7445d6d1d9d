/** The state of the whole service, as `GET /v1/operations` returns it. */
export interface Operations {
  readonly version: string
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly message?: string }[]
  readonly processes: readonly {
    readonly id: string
    readonly roles: readonly string[]
    readonly started_at: string
    readonly seen_at: string
  }[]
  readonly engines: readonly { readonly port: string; readonly identity: string; readonly since: string }[]
  readonly bus: {
    readonly unread: number
    readonly oldest_record_seconds: number
    readonly produced: number
    readonly done: number
    readonly partitions: readonly { readonly partition: number; readonly unread: number }[]
  }
  readonly schedule: {
    readonly retrying: number
    readonly oldest_due_seconds: number
    readonly parked: { readonly slot: number; readonly tenant_suspended: number }
    readonly most_parked: readonly { readonly tenant_id: string; readonly webhook_id: string; readonly count: number }[]
  }
  readonly dead_letters: number
  readonly webhooks: { readonly active: number; readonly failing: number }
  readonly projections: readonly {
    readonly name: string
    readonly build: number
    readonly version: number
    readonly is_live: boolean
    readonly state: string | null
    readonly error: string | null
    readonly lag_seconds: number | null
    readonly quarantined: number
    readonly updated_at: string
  }[]
  readonly quarantined_streams: readonly {
    readonly projection: string
    readonly stream: string
    readonly revision: number
    readonly error: string
    readonly since: string
  }[]
  readonly leases: readonly { readonly name: string; readonly owner: string; readonly until: string }[]
  readonly running_jobs: number
  readonly database_bytes: number
  readonly replication_slots: readonly { readonly name: string; readonly is_active: boolean; readonly retained_bytes: number }[]
  readonly disk: { readonly total_bytes: number; readonly free_bytes: number } | null
  readonly last_backup: { readonly made_at: string; readonly age_seconds: number; readonly bytes: number; readonly rows: number } | null
  readonly retention_days: number
}
