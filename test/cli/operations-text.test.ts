import { expect } from 'chai'
import { operationsText } from '../../src/cli/operations-text.ts'

describe('the report of operations in the command line', () => {
  const report = {
    version: '0.2.0',
    bus: { unread: 3, partitions: [{ partition: 0, unread: 3 }] },
    database_bytes: 48_234_496,
    disk: { total_bytes: 107_374_182_400, free_bytes: 900 },
    replication_slots: [],
    last_backup: null,
  }
  it('shows single values first, and then a table for each list', () => {
    expect(operationsText(report).split('\n')).to.deep.equal([
      'version           0.2.0',
      'bus.unread        3',
      'database_bytes    46.0 MiB',
      'disk.total_bytes  100.0 GiB',
      'disk.free_bytes   900 bytes',
      'last_backup       none',
      '',
      'bus.partitions',
      'partition  unread',
      '0          3',
    ])
  })
  it('shows the time, the age and the size of the last backup', () => {
    const last_backup = { made_at: '2026-03-31T00:45:00.000Z', age_seconds: 3_600, bytes: 12_582_912, rows: 120_000 }
    expect(operationsText({ ...report, last_backup }).split('\n')).to.include.members([
      'last_backup.made_at      2026-03-31T00:45:00.000Z',
      'last_backup.age_seconds  3600',
      'last_backup.bytes        12.0 MiB',
    ])
  })
})
