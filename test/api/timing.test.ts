import { randomInt } from 'node:crypto'
import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { expectSameTime } from '../support/timing.ts'

/** The number of rounds. Each has four requests. */
const rounds = 80
const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const randomText = (length: number) => Array.from({ length }, () => characters[randomInt(characters.length)]).join('')

describe('the response time for wrong credentials', () => {
  let api: TestApi
  let client: TestClient
  before(async () => {
    api = await startApi({ settings: { failedCredentialsPerMinute: 1_000_000 } })
    client = await api.tenant()
  })
  after(() => api.stop())

  const refused = async (path: string, init: RequestInit) => {
    const response = await fetch(api.origin + path, init)
    await response.text()
    expect(response.status).to.equal(401)
  }

  it("does not reveal how much of a client's secret is right", async () => {
    const { clientId: client_id, secret } = client
    const guess = (client_secret: string) => () =>
      refused('/v1/auth', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ grant_type: 'client_credentials', client_id, client_secret }),
      })
    const works = {
      'wrong from the first character on': guess(randomText(secret.length)),
      'wrong in the first': guess(`${secret.startsWith('A') ? 'B' : 'A'}${secret.slice(1)}`),
      'wrong in the last': guess(`${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`),
    }
    await expectSameTime(works, { rounds })
  })

  it('does not reveal how much of an API key is right', async () => {
    const { key } = await api.key(client)
    // Each guess is new, because a key that was looked up within the last second comes from the cache.
    const guess = (idLength: number) => () =>
      refused('/v1/webhooks', { headers: { 'x-api-key': key.slice(0, idLength) + randomText(key.length - idLength) } })
    await expectSameTime({ 'nothing known': guess(0), 'two thirds known': guess(8) }, { rounds })
  })
})
