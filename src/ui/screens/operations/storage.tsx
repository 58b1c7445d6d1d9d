import type { OperationsReport as Report } from '../../../api/responses.ts'
import { durationText } from '../../lib/time.ts'
import { Note } from '../../parts/messages.tsx'
import { Facts } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Code, Foreign, Time } from '../../parts/text.tsx'

/** A backup that is older than this many seconds is shown as a fault: two days. */
const oldBackupSeconds = 172_800
/** The share of a disk that must be free. */
const scarceShare = 0.1

/** Returns a size in the largest unit that fits: `46.0 MiB`. */
function sizeText(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let size = bytes / 1_024
  let unit = 0
  for (; size >= 1_024 && unit < units.length - 1; unit++) size /= 1_024
  return `${size.toFixed(size >= 100 ? 0 : 1)} ${units[unit]}`
}

/** The sizes that can fill a disk, and the last backup. */
export function Storage({ report: { database_bytes, disk, last_backup, replication_slots, retention_days } }: { report: Report }) {
  return (
    <section class="stack">
      <h2>Storage and backup</h2>
      <Facts
        facts={[
          ['Last backup', <Backup backup={last_backup} />],
          ['Size of the database', sizeText(database_bytes)],
          disk === null ? null : ['Disk of the data folder', <Disk disk={disk} />],
          ['Retention', `${retention_days} ${retention_days === 1 ? 'day' : 'days'}`],
        ]}
      />
      {last_backup === null && (
        <Note>
          <p>
            A backup holds everything except the keys. Make one on the machine of Kolbak while the service runs, and keep it on another
            machine:
          </p>
          <Code text="npm run -s operate -- backup kolbak.backup" label="the command that makes a backup" />
        </Note>
      )}
      {replication_slots.length > 0 && (
        <Table caption="Replication slots of Postgres" columns={['State', 'Replication slot', 'Keeps of the log']}>
          {replication_slots.map(({ name, is_active, retained_bytes }) => (
            <tr key={name}>
              <td>
                {is_active ? (
                  <Status tone="good" icon="check" word="is read" />
                ) : (
                  <Status tone="warn" icon="warn" word="has no reader, and fills the disk" />
                )}
              </td>
              <td class="long">
                <Foreign text={name} />
              </td>
              <td class="nowrap">{sizeText(retained_bytes)}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  )
}

function Backup({ backup }: { backup: Report['last_backup'] }) {
  if (backup === null) return <Status tone="warn" icon="warn" word="none" />
  const { made_at, age_seconds, bytes } = backup
  return (
    <>
      {age_seconds > oldBackupSeconds ? (
        <Status tone="warn" icon="warn" word={`${durationText(age_seconds * 1_000)} ago`} />
      ) : (
        <Time at={made_at} />
      )}
      <span class="soft">
        , <Time at={made_at} isExact />, {sizeText(bytes)}
      </span>
    </>
  )
}

function Disk({ disk: { total_bytes, free_bytes } }: { disk: NonNullable<Report['disk']> }) {
  const text = `${sizeText(free_bytes)} free of ${sizeText(total_bytes)}`
  return free_bytes < scarceShare * total_bytes ? <Status tone="bad" icon="warn" word={text} /> : <span>{text}</span>
}

const portNames: Readonly<Record<string, string>> = {
  event_store: 'Event store',
  message_bus: 'Message bus',
  delivery_log: 'Delivery log',
}
export const Engines = ({ report: { engines } }: { report: Report }) => (
  <section class="stack">
    <h2>Engines</h2>
    <Facts
      facts={engines.map(
        ({ port, identity, since }) =>
          [
            portNames[port] ?? port,
            <>
              {identity} <span class="faint">since</span> <Time at={since} />
            </>,
          ] as const,
      )}
    />
  </section>
)
