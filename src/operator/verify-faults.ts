import type { FieldChange } from '../lib/field-changes.ts'

/** The facts about a fault that `verify` shows to an auditor. */
export interface FaultDetails {
  /** The event as Kolbak wrote it, if that is known, or else as it is stored. */
  readonly event?: { readonly id: string; readonly type: string; readonly time: unknown; readonly actor: unknown }
  /** Empty if no field differs. */
  readonly changes?: readonly FieldChange[]
  /** Sentences about the fault. */
  readonly notes?: readonly string[]
}
/** A fault that was found: where it is, and what is wrong there. */
export interface Fault extends FaultDetails {
  /** `<stream>@<revision>`, `head <size>`, `batch <number>`, `read model <table>`, `data key of <tenant>` or `log`. */
  readonly where: string
  readonly fault: string
  /** The places of the faults from which this one follows. Absent if it does not follow from another fault. */
  readonly follows_from?: readonly string[]
}

/** Collects the faults, in the order in which they are found. All faults at one place (`where`) are listed as one, except with another `key`. */
export function createFaults() {
  const places = new Map<string, { where: string; faults: string[]; details: FaultDetails; causes: readonly string[] }>()
  const requirePlace = (key: string) => {
    const place = places.get(key)
    if (place === undefined) throw new Error(`There is no fault at ${key}.`)
    return place
  }
  return {
    add(where: string, fault: string, details: FaultDetails = {}, key = where) {
      const place = places.get(key)
      if (place === undefined) places.set(key, { where, faults: [fault], details, causes: [] })
      else if (!place.faults.includes(fault)) place.faults.push(fault)
    },
    has: (key: string) => places.has(key),
    keys: () => [...places.keys()],
    /** Returns the places of events that have a fault. */
    events: (): string[] => [...places.keys()].filter((where) => /^\S+@\d+$/.test(where)),
    describe(where: string, details: FaultDetails) {
      const place = requirePlace(where)
      place.details = { ...place.details, ...details }
    },
    /** Calls an event inserted, instead of naming what is wrong with its MAC. */
    callInserted(where: string) {
      const place = requirePlace(where)
      place.faults = place.faults.map((fault) => (/^(altered|forged) \(mac\)$/.test(fault) ? 'inserted (mac)' : fault))
    },
    /** Says from which other faults a fault follows. */
    follow(key: string, causes: readonly string[]) {
      requirePlace(key).causes = causes
    },
    list: (): Fault[] =>
      [...places.values()].map(({ where, faults, details, causes }) => ({
        where,
        fault: faults.join(', '),
        ...details,
        ...(causes.length === 0 ? {} : { follows_from: causes }),
      })),
  }
}
export type Faults = ReturnType<typeof createFaults>

/**
 * Links each head, batch and row of a read model that differs with the faulty events that explain it.
 * @param options.indexes the indexes of faulty events in the log
 * @param options.unchanged places of events that are stored as the log read them first
 * @param options.attempts the places of the faulty attempts of each batch
 */
export function linkFaults(
  faults: Faults,
  {
    indexes,
    unchanged,
    attempts,
  }: { indexes: ReadonlyMap<string, number>; unchanged: ReadonlySet<string>; attempts: ReadonlyMap<string, readonly string[]> },
): void {
  const events = faults.events().filter((where) => !where.startsWith('attempts-'))
  const changed = events.filter((where) => !unchanged.has(where))
  for (const key of faults.keys()) {
    const [, size] = /^head (\d+)$/.exec(key) ?? []
    const [, row] = /^read model \S+ (.*)$/s.exec(key) ?? []
    if (size !== undefined)
      faults.follow(
        key,
        changed.filter((where) => (indexes.get(where) ?? 0) < Number(size)),
      )
    else if (row !== undefined)
      faults.follow(
        key,
        events.filter((where) => resourceOf(where) === row),
      )
    else if (key.startsWith('batch ')) faults.follow(key, attempts.get(key) ?? [])
  }
}
/** Returns the id of the tenant, key or webhook whose event has a fault. */
const resourceOf = (where: string): string => where.slice(where.indexOf('-') + 1, where.lastIndexOf('@'))
