// A model of many cells and of the tenants that they serve (docs/scaling.md). It is pure: one seed always gives one result.

/** Costs of one event, measured as docs/scaling.md says. */
export interface EventCosts {
  /** Processor time of Postgres in µs, with the retries and the later deletion of the row. */
  readonly postgresMicros: number
  /** Processor time of Kolbak's processes in µs. */
  readonly nodeMicros: number
  /** Bytes that Postgres keeps until the retention time is over. */
  readonly storedBytes: number
  /** Bytes of the write-ahead log of Postgres. */
  readonly walBytes: number
}
/** The Postgres of a cell. */
export interface Machine {
  readonly cores: number
  readonly diskBytes: number
  /** The share of the cores and of the disk that the events may take. The other share is for vacuum, backups and free space in tables. */
  readonly usable: number
}
export interface Capacity {
  /** The mean events a second over the retention time for which the disk has room. */
  readonly byDisk: number
  /** The events a second for which the processor has time in the busiest hour. */
  readonly byProcessor: number
}
export function capacityOf(costs: EventCosts, machine: Machine, retentionDays: number): Capacity {
  return {
    byDisk: (machine.diskBytes * machine.usable) / (costs.storedBytes * retentionDays * 86_400),
    byProcessor: (machine.cores * 1e6 * machine.usable) / costs.postgresMicros,
  }
}

export type Policy = 'first fit' | 'least loaded' | 'two choices' | 'hash'
export interface Setting {
  readonly seed: number
  readonly days: number
  readonly tenants: number
  /** Events a second of all tenants on the last day. */
  readonly eventsPerSecond: number
  /** Exponent of Zipf's law. The tenant of rank k sends a share proportional to 1 / k^skew. */
  readonly skew: number
  /** Mean events a second that a cell can keep for the retention time. */
  readonly limit: number
  /** The events that a cell can process in a second of a busy hour, as a multiple of its limit. */
  readonly peak: number
  /** The share of the limit up to which a cell gets further tenants. */
  readonly target: number
  /** The share of the limit above which tenants are moved away. */
  readonly moveAbove: number
  /** The share of the limit above which a tenant is divided into twice as many parts. */
  readonly largestPart: number
  /** The most that a tenant may send, as a multiple of its mean rate. */
  readonly rateLimit: number
  readonly policy: Policy
}
export interface Outcome {
  readonly cells: number
  /** Events a second of all tenants on the first and on the last day. */
  readonly firstRate: number
  readonly lastRate: number
  /** The mean load of the cells on the last day, as a share of their limit. */
  readonly utilisation: number
  /** The highest load of any cell at the end of any day, before and after tenants were moved. */
  readonly highestBefore: number
  readonly highestAfter: number
  /** Parts of tenants that were moved, per day: the mean over all days, and the most on one day. */
  readonly movesPerDay: number
  readonly mostMoves: number
  /** The mean share of all rows of the message index that the moves of one day copy. */
  readonly movedShare: number
  /** Hours in which a cell got more than it can process, per cell and year. */
  readonly busyHours: number
  /** The longest time in minutes that an event of such an hour waited on the bus. */
  readonly longestWait: number
  /** The shares of tenants, and of events, that the loss of one cell stops: the mean over all cells, and the most. */
  readonly touchedTenants: number
  readonly mostTouchedTenants: number
  readonly touchedEvents: number
  readonly mostTouchedEvents: number
  /** Divided tenants, their parts, and the parts and the size of the largest tenant. The size is a multiple of a cell's limit. */
  readonly dividedTenants: number
  readonly parts: number
  readonly largestTenantParts: number
  readonly largestTenant: number
  readonly tenantsPlaced: number
}

/** Returns a generator of numbers from 0 to below 1 (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface Tenant {
  rate: number
  /** The factor by which the rate grows in a day. */
  readonly growth: number
  readonly firstDay: number
  /** Empty until the tenant's first day. */
  readonly parts: Part[]
  /** One of three thirds of the world. Their busy hours are eight hours apart. */
  readonly region: number
}
/** Creates tenants that together send `eventsPerSecond` on the last day. Half of them exist on the first day, and most of them grow. */
function createTenants({ seed, days, tenants, eventsPerSecond, skew }: Setting): Tenant[] {
  const random = createRandom(seed)
  const ranks = Array.from({ length: tenants }, (_, i) => i + 1)
  for (let i = tenants - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[ranks[i], ranks[j]] = [ranks[j]!, ranks[i]!]
  }
  const sum = ranks.reduce((total, rank) => total + rank ** -skew, 0)
  return ranks.map((rank) => {
    const firstDay = random() < 0.5 ? 0 : 1 + Math.floor(random() * (days - 1))
    // A tenth of the tenants shrinks. The others grow up to twentyfold in a year.
    const growthInYear = random() < 0.1 ? -1 : 3 * random() ** 2
    const growth = growthInYear / 365
    const last = (eventsPerSecond * rank ** -skew) / sum
    const rate = last * Math.exp(-growth * (days - 1 - firstDay))
    return { rate, growth: Math.exp(growth), firstDay, parts: [], region: Math.floor(random() * 3) }
  })
}

/** A share of a tenant's messages, chosen by a hash of the message's id. Most tenants have one part. */
interface Part {
  readonly tenant: Tenant
  readonly key: number
  /** The number of cells above which the part gets another cell, if the policy is `hash`. */
  keptUntil: number
  cell: Cell
}
interface Cell {
  load: number
  readonly loadOfRegion: [number, number, number]
  /** For each hour of a day, the part of the load that bursts cause. */
  readonly bursts: Float64Array
  /** Events that wait on the bus. */
  backlog: number
  parts: Part[]
}
const createCell = (): Cell => ({ load: 0, loadOfRegion: [0, 0, 0], bursts: new Float64Array(24), backlog: 0, parts: [] })

/** Returns the load of an hour as a share of the mean load, from 0.5 to 1.5. */
const shareOfHour = (hour: number, region: number): number => 1 + 0.5 * Math.sin((2 * Math.PI * (hour + 8 * region)) / 24)
const shares = [0, 1, 2].map((region) => Array.from({ length: 24 }, (_, hour) => shareOfHour(hour, region)))

/**
 * Returns the cell of a key among `count` cells, and the number of cells above which the key gets another one. When `count` grows by one, only 1 / count
 * of the keys get another cell (jump consistent hash).
 */
function hashedCell(key: number, count: number): { cell: number; until: number } {
  const random = createRandom(key)
  let cell = 0
  let until = 0
  while (until < count) {
    cell = until
    until = Math.floor((cell + 1) / (1 - random()))
  }
  return { cell, until }
}

/** Simulates the cells day by day. Throws if a tenant is lost, is in two cells, or a cell is over its limit. */
export function simulate(setting: Setting): Outcome {
  const { limit, target, moveAbove, days, policy } = setting
  if (setting.largestPart > target) throw new Error('a part may be larger than the target, so no cell would have room for it')
  const tenants = createTenants(setting)
  const randomOfBursts = createRandom(setting.seed + 1)
  const randomOfPlaces = createRandom(setting.seed + 2)
  const cells: Cell[] = [createCell()]
  const rateOf = ({ tenant }: Part) => tenant.rate / tenant.parts.length
  const hasRoom = (cell: Cell, rate: number) => cell.load + rate <= target * limit

  function roomFor(rate: number): Cell | undefined {
    if (policy === 'first fit') return cells.find((cell) => hasRoom(cell, rate))
    if (policy === 'two choices')
      for (let tries = 0; tries < 5; tries++) {
        const [a, b] = [cells[Math.floor(randomOfPlaces() * cells.length)]!, cells[Math.floor(randomOfPlaces() * cells.length)]!]
        const lower = a.load <= b.load ? a : b
        if (hasRoom(lower, rate)) return lower
      }
    // This is the policy `least loaded`, and what `two choices` does when ten cells had no room.
    let least = cells[0]!
    for (const cell of cells) if (cell.load < least.load) least = cell
    return hasRoom(least, rate) ? least : undefined
  }
  function openCell(): Cell {
    const cell = createCell()
    cells.push(cell)
    return cell
  }
  function cellFor(part: Part, rate: number): Cell {
    if (policy === 'hash') {
      if (cells.length <= part.keptUntil) return part.cell
      const { cell, until } = hashedCell(part.key, cells.length)
      part.keptUntil = until
      return cells[cell]!
    }
    return roomFor(rate) ?? openCell()
  }
  function put(part: Part, cell: Cell, rate: number): void {
    part.cell = cell
    cell.parts.push(part)
    cell.load += rate
    cell.loadOfRegion[part.tenant.region]! += rate
  }
  function take(part: Part, rate: number): void {
    part.cell.parts.splice(part.cell.parts.indexOf(part), 1)
    part.cell.load -= rate
    part.cell.loadOfRegion[part.tenant.region]! -= rate
  }
  const createPart = (tenant: Tenant, cell: Cell): Part => ({
    tenant,
    key: Math.floor(randomOfPlaces() * 4_294_967_296),
    keptUntil: 0,
    cell,
  })

  function grow(day: number): void {
    for (const tenant of tenants) if (tenant.firstDay < day) tenant.rate *= tenant.growth
    for (const cell of cells) {
      cell.load = 0
      cell.loadOfRegion.fill(0)
      for (const part of cell.parts) {
        const rate = rateOf(part)
        cell.load += rate
        cell.loadOfRegion[part.tenant.region]! += rate
      }
    }
  }
  /** Divides tenants that have grown too large. A new part begins in the cell of the part that it is taken from, so nothing is moved yet. */
  function divide(): boolean {
    let isDivided = false
    for (const tenant of tenants)
      while (tenant.parts.length > 0 && tenant.rate / tenant.parts.length > setting.largestPart * limit) {
        isDivided = true
        for (const part of [...tenant.parts]) {
          const half = createPart(tenant, part.cell)
          tenant.parts.push(half)
          part.cell.parts.push(half)
        }
      }
    return isDivided
  }
  function addTenants(day: number): void {
    for (const tenant of tenants) {
      if (tenant.firstDay !== day) continue
      let count = 1
      while (tenant.rate / count > setting.largestPart * limit) count *= 2
      for (let i = 0; i < count; i++) tenant.parts.push(createPart(tenant, cells[0]!))
      for (const part of tenant.parts) put(part, cellFor(part, tenant.rate / count), tenant.rate / count)
    }
  }
  let moved = 0
  let movedRate = 0
  function move(part: Part, cell: Cell): void {
    if (part.cell === cell) return
    const rate = rateOf(part)
    take(part, rate)
    put(part, cell, rate)
    moved++
    movedRate += rate
  }
  /** Moves parts from cells that are too full. It takes the smallest part that is enough, or else the largest. */
  function relieve(isDivided: boolean): void {
    if (policy === 'hash') {
      const place = () => {
        for (const { parts } of tenants) for (const part of parts) move(part, cellFor(part, rateOf(part)))
      }
      if (isDivided) place()
      while (cells.some((cell) => cell.load > moveAbove * limit)) {
        for (let more = cells.length * 0.02; more > 0; more--) openCell()
        place()
      }
      return
    }
    for (const cell of [...cells])
      while (cell.load > moveAbove * limit) {
        const excess = cell.load - ((target + moveAbove) / 2) * limit
        const byRate = cell.parts.toSorted((a, b) => rateOf(a) - rateOf(b))
        const part = byRate.find((candidate) => rateOf(candidate) >= excess) ?? byRate.at(-1)!
        move(part, cellFor(part, rateOf(part)))
      }
  }
  let busyHours = 0
  let cellDays = 0
  let longestWait = 0
  /** Passes the hours of a day. In a burst, a tenant sends up to ten times as much for one to four hours. */
  function passDay(): void {
    for (const tenant of tenants) {
      if (randomOfBursts() >= 0.02) continue
      const factor = Math.min(setting.rateLimit, 2 + 8 * randomOfBursts() ** 2)
      const begin = Math.floor(randomOfBursts() * 24)
      const hours = 1 + Math.floor(randomOfBursts() * 4)
      for (const { cell } of tenant.parts)
        for (let hour = begin; hour < Math.min(24, begin + hours); hour++)
          cell.bursts[hour]! += (factor - 1) * (tenant.rate / tenant.parts.length) * shares[tenant.region]![hour]!
    }
    const processable = setting.peak * limit
    for (const cell of cells) {
      const [a, b, c] = cell.loadOfRegion
      for (let hour = 0; hour < 24; hour++) {
        const load = a * shares[0]![hour]! + b * shares[1]![hour]! + c * shares[2]![hour]! + cell.bursts[hour]!
        if (load > processable) busyHours++
        cell.backlog = Math.max(0, cell.backlog + (load - processable) * 3_600)
        longestWait = Math.max(longestWait, cell.backlog / processable)
      }
      cell.bursts.fill(0)
    }
    cellDays += cells.length
  }

  let [highestBefore, highestAfter, mostMoves, allMoves, movedShares, firstRate] = [0, 0, 0, 0, 0, 0]
  const highestLoad = () => cells.reduce((highest, cell) => Math.max(highest, cell.load), 0) / limit
  const rateOfAll = () => cells.reduce((sum, cell) => sum + cell.load, 0)
  for (let day = 0; day < days; day++) {
    moved = 0
    movedRate = 0
    grow(day)
    const isDivided = divide()
    addTenants(day)
    if (day === 0) firstRate = rateOfAll()
    else highestBefore = Math.max(highestBefore, highestLoad())
    relieve(isDivided)
    highestAfter = Math.max(highestAfter, highestLoad())
    passDay()
    // On the first day, all tenants of that day come at once. This is no move.
    if (day === 0) continue
    allMoves += moved
    mostMoves = Math.max(mostMoves, moved)
    movedShares += movedRate / rateOfAll()
  }
  check(setting, cells, tenants, highestAfter)
  const total = rateOfAll()
  const touched = cells.map(({ parts }) => new Set(parts.map(({ tenant }) => tenant)).size / tenants.length)
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const largest = tenants.reduce((a, b) => (b.rate > a.rate ? b : a))
  const counts = tenants.map(({ parts }) => parts.length)
  return {
    cells: cells.length,
    firstRate,
    lastRate: total,
    utilisation: total / cells.length / limit,
    highestBefore,
    highestAfter,
    movesPerDay: allMoves / (days - 1),
    mostMoves,
    movedShare: movedShares / (days - 1),
    busyHours: (busyHours / cellDays) * 365,
    longestWait: longestWait / 60,
    touchedTenants: mean(touched),
    mostTouchedTenants: Math.max(...touched),
    touchedEvents: 1 / cells.length,
    mostTouchedEvents: (highestLoad() * limit) / total,
    dividedTenants: counts.filter((count) => count > 1).length,
    parts: counts.reduce((sum, count) => sum + count, 0),
    largestTenantParts: largest.parts.length,
    largestTenant: largest.rate / limit,
    tenantsPlaced: counts.filter((count) => count > 0).length,
  }
}

/** Throws if a tenant is lost or doubled, or if a cell was over its limit when tenants had been moved. */
function check({ moveAbove, eventsPerSecond }: Setting, cells: readonly Cell[], tenants: readonly Tenant[], highestAfter: number): void {
  const placed = cells.flatMap((cell) => cell.parts.map((part) => ({ part, cell })))
  if (placed.some(({ part, cell }) => part.cell !== cell)) throw new Error('a part is in a cell that it does not name')
  if (new Set(placed.map(({ part }) => part)).size !== placed.length) throw new Error('a part is in two cells')
  const owned = tenants.map((tenant) => tenant.parts.length)
  if (owned.includes(0) || owned.reduce((sum, count) => sum + count, 0) !== placed.length) throw new Error('a tenant is lost')
  const total = cells.reduce((sum, cell) => sum + cell.load, 0)
  if (Math.abs(total / eventsPerSecond - 1) > 1e-6) throw new Error(`the cells get ${total} of ${eventsPerSecond} events a second`)
  if (highestAfter > moveAbove + 1e-9) throw new Error(`a cell is at ${highestAfter} of its limit`)
}
