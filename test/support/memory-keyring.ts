import { createHmac, randomBytes } from 'node:crypto'
import type { Keyring } from '../../src/lib/keyring.ts'
import { createVault, type Vault } from '../../src/lib/seal.ts'

/** A keyring in memory, for tests that need vaults and no database. */
export function memoryKeyring(): Keyring {
  const vaults = new Map<string, Vault>()
  const lookupKey = randomBytes(32)
  return {
    cached: (owner) => vaults.get(owner),
    async vault(owner) {
      const existing = vaults.get(owner)
      if (existing !== undefined) return existing
      const dataKey = randomBytes(32)
      const vault = createVault({ key_id: vaults.size + 1, dataKey, keyOf: () => dataKey, fingerprintKey: randomBytes(32) })
      vaults.set(owner, vault)
      return vault
    },
    async create() {},
    lookup: (purpose, value) => createHmac('sha256', lookupKey).update(`${purpose}\n${value}`).digest('hex'),
  }
}
