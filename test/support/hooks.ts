import { stopDatabases } from './database.ts'

export const mochaHooks = {
  afterAll: stopDatabases,
}
