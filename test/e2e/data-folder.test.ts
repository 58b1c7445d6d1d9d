import { chmod, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { type RunningService, removeFolder, startService, temporaryFolder } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('a data folder', () => {
  const services = withServices({ each: true })
  const { start } = services
  /** Starts and stops a service, so that the folder has data. Returns a function that gives the path of a file in the folder. */
  const fill = async () => {
    await (await start()).kill('SIGTERM')
    return (name: string) => join(services.dataDir, name)
  }
  const files = async () => (await readdir(services.dataDir)).sort()

  for (const processes of ['1', '2'])
    it(`whose keys.json is lost is refused with one sentence before anything is made, by ${processes} processes`, async () => {
      const path = await fill()
      await rename(path('keys.json'), path('kept'))
      const before = await files()
      for (let i = 0; i < 2; i++) {
        const { code, stderr } = await services.failToStart({ KOLBAK_PROCESSES: processes })
        expect(stderr).to.match(
          /^kolbak: \S+keys\.json is missing, and the data of this folder are sealed .* a new folder\. \(keys_lost\)$/,
        )
        expect(code).to.equal(78)
      }
      expect(await files()).to.deep.equal(before)
      await rename(path('kept'), path('keys.json'))
      await clientOf((await start()).url)
    })

  it('whose keys.json is damaged or belongs to other data is refused with one sentence, and stays as it is', async () => {
    const path = await fill()
    const key = Buffer.alloc(32, 9).toString('base64url')
    for (const [content, sentence] of [
      ['', /^kolbak: \S+keys\.json cannot be read: put the file back.*\(data_dir.*\)$/],
      ['{"master_key": "c2hvcnQ"}', /^kolbak: \S+keys\.json has no master_key of 32 bytes or more: .*\(data_dir\)$/],
      [
        JSON.stringify({ master_key: key, jwt_secret: key }),
        /^kolbak: KOLBAK_MASTER_KEY is not the key .*keys\.json.*\(wrong_master_key\)$/,
      ],
    ] as const) {
      await writeFile(path('keys.json'), content)
      const { code, stderr } = await services.failToStart()
      expect(stderr).to.match(sentence).and.not.include('..')
      expect(code).to.equal(78)
      expect(await readFile(path('keys.json'), 'utf8')).to.equal(content)
    }
  })

  it('whose password file is missing or wrong is refused with one sentence, and gets no new password', async () => {
    const path = await fill()
    await rename(path('postgres-password'), path('kept'))
    const failure = await services.failToStart()
    expect(failure.stderr).to.match(
      /^kolbak: \S+postgres-password is missing, and the Postgres of this folder accepts no other .*\(password_lost\)$/,
    )
    expect(failure.code).to.equal(78)
    expect(await files()).to.not.include('postgres-password')

    await writeFile(path('postgres-password'), 'another-password\n', { mode: 0o600 })
    const other = await services.failToStart()
    expect(other.stderr).to.match(
      /^kolbak: The Postgres of \S+ does not accept the password in \S+postgres-password: .*\(password_lost: .*\)$/,
    )
    expect(other.code).to.equal(78)
    await waitFor(async () => !(await readdir(path('postgres'))).includes('postmaster.pid'), { what: 'Postgres to be stopped again' })

    await rename(path('kept'), path('postgres-password'))
    await clientOf((await start()).url)
  })

  it('that cannot be used is refused with one sentence', async () => {
    await writeFile(join(services.dataDir, 'file'), '')
    const { code, stderr } = await services.failToStart({ KOLBAK_DATA_DIR: join(services.dataDir, 'file') })
    expect(stderr).to.match(/^kolbak: \S+file cannot be used: set KOLBAK_DATA_DIR to a folder that Kolbak may write\. \(data_dir: .*\)$/)
    expect(code).to.equal(78)
  })

  for (const name of ['a $HOME b', `'single' "double" \`id\``, 'größe ☃ %20 #1', 'back\\slash; (x) & y -z'])
    it(`may be called ${name}`, async () => {
      const parent = await temporaryFolder()
      const dataDir = join(parent, name)
      let service: RunningService | undefined
      try {
        await chmod(parent, 0o711) // as root, Postgres runs as another user
        service = await startService(services.dataDir, { KOLBAK_DATA_DIR: dataDir })
        await clientOf(service.url)
        await service.kill('SIGKILL')
        service = await startService(services.dataDir, { KOLBAK_DATA_DIR: dataDir })
        expect(service.logLines.find((line) => line.msg === 'postgres.started')).to.include({ tookOver: true })
        expect(await service.kill('SIGTERM')).to.equal(0)
      } finally {
        await removeFolder(parent)
      }
    })
})
