import { useState } from 'preact/hooks'
import { isOffline } from '../lib/api.ts'
import { preferences, setPreference } from '../lib/preferences.ts'
import { navigate, path, urlOf } from '../lib/router.ts'
import { can, me, signOut } from '../lib/session.ts'
import { Dialog } from '../parts/form.tsx'
import { Icon, type IconName } from '../parts/icon.tsx'
import { isHelpOpen } from './keys.ts'
import { screenAt } from './screens.tsx'

interface Destination {
  readonly screen: string
  readonly title: string
  readonly icon: IconName
  /** The scope without which the screen would be empty. */
  readonly scope: string
}
const destinations: readonly Destination[] = [
  { screen: '/', title: 'Overview', icon: 'overview', scope: 'read:webhooks' },
  { screen: '/webhooks', title: 'Webhooks', icon: 'webhook', scope: 'read:webhooks' },
  { screen: '/events', title: 'Events', icon: 'event', scope: 'read:events' },
  { screen: '/deliveries', title: 'Deliveries', icon: 'deliveries', scope: 'read:webhooks' },
  { screen: '/problems', title: 'Problems', icon: 'problem', scope: 'read:webhooks' },
  { screen: '/live', title: 'Live', icon: 'live', scope: 'read:webhooks' },
  { screen: '/replays', title: 'Replays', icon: 'retry', scope: 'read:webhooks' },
  { screen: '/keys', title: 'API keys', icon: 'key', scope: 'read:keys' },
  { screen: '/audit', title: 'Audit', icon: 'audit', scope: 'read:audit' },
]
const adminDestinations: readonly Destination[] = [
  { screen: '/tenants', title: 'Tenants', icon: 'tenant', scope: 'admin' },
  { screen: '/operations', title: 'Operations', icon: 'gauge', scope: 'admin' },
]
const isAt = (screen: string) => path.value === screen || (screen !== '/' && path.value.startsWith(`${screen}/`))

function Links({ links }: { links: readonly Destination[] }) {
  return (
    <ul>
      {links
        .filter(({ scope }) => me.value?.scopes.includes(scope))
        .map(({ screen, title, icon }) => (
          <li key={screen}>
            <a href={urlOf(screen)} aria-current={isAt(screen) ? 'page' : undefined}>
              <Icon name={icon} />
              {title}
            </a>
          </li>
        ))}
    </ul>
  )
}

function SideBar() {
  const [isOpen, setOpen] = useState(false)
  const caller = me.value
  return (
    <header class={isOpen ? 'side open' : 'side'}>
      <div class="row between">
        <a class="brand" href={urlOf('/')}>
          <Mark />
          Kolbak
        </a>
        <button type="button" class="quiet menu" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          <Icon name="menu" />
          Menu
        </button>
      </div>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: a click on a link, also by keyboard, closes the menu */}
      <nav aria-label="Screens" class="stack" onClick={() => setOpen(false)}>
        <Links links={destinations} />
        {caller?.scopes.includes('admin') && (
          <div>
            <h2>Administration</h2>
            <Links links={adminDestinations} />
          </div>
        )}
      </nav>
      <div class="foot">
        <span>
          <strong>{caller?.name ?? caller?.id}</strong>
          {caller?.kind === 'key' ? ' (API key)' : ''}
          <br />
          Account {caller?.tenant.name ?? caller?.tenant.id}
        </span>
        <div class="row">
          <a href="/docs/">API docs</a>
          <button type="button" class="quiet" onClick={() => signOut()}>
            Sign out
          </button>
        </div>
        <span>Kolbak {caller?.version}</span>
      </div>
    </header>
  )
}
export const Mark = () => (
  <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
    <rect width="32" height="32" rx="7" fill="#2f5bd0" />
    <path d="M9 8v16M9 16h5l8-8M14 16l8 8" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round" />
  </svg>
)

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const ulid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
/**
 * Returns the screen of the resource with this id. The screen of an event also finds what a text is a part of. A person who may not read events, such as one
 * with an API key, gets the webhooks that match.
 */
function screenOfId(id: string): string {
  if (uuid.test(id)) return `/deliveries/${id}`
  if (ulid.test(id)) return `/webhooks/${id}`
  return can('read:events') ? `/events/${encodeURIComponent(id)}` : `/webhooks?text=${encodeURIComponent(id)}`
}

function TopBar() {
  const { theme, zone } = preferences.value
  return (
    <div class="top">
      <search>
        <form
          onSubmit={(event) => {
            event.preventDefault()
            const input = event.currentTarget.querySelector('input')
            const id = input?.value.trim() ?? ''
            if (id !== '') navigate(screenOfId(id))
            if (input !== null) input.value = ''
          }}
        >
          <Icon name="search" />
          <input
            id="search"
            type="search"
            aria-label="Find an event, a delivery or a webhook"
            placeholder="Id, or part of an event id or webhook URL"
          />
        </form>
      </search>
      <div class="row end">
        <button
          type="button"
          class="quiet"
          title="Time zone of all times"
          onClick={() => setPreference('zone', zone === 'utc' ? 'local' : 'utc')}
        >
          {zone === 'utc' ? 'UTC' : 'Local time'}
        </button>
        <button
          type="button"
          class="quiet"
          title="Light, dark, or as the system"
          onClick={() => setPreference('theme', theme === 'auto' ? 'light' : theme === 'light' ? 'dark' : 'auto')}
        >
          Theme: {theme}
        </button>
        <button type="button" class="quiet" onClick={() => (isHelpOpen.value = true)}>
          Shortcuts
        </button>
      </div>
    </div>
  )
}

const shortcuts = [
  ['/', 'search'],
  ['g o', 'Overview; g w webhooks, g e events, g d deliveries, g p problems, g l live, g r replays, g k keys, g a audit'],
  ['j k', 'next row, row before'],
  ['Enter', 'open the row'],
  ['r', 'replay'],
  ['Space', 'pause the screen Live'],
  ['[ ]', 'older, newer revision of a webhook'],
  ['?', 'this list'],
  ['Esc', 'close'],
] as const
const Help = () => (
  <Dialog title="Keyboard" close={() => (isHelpOpen.value = false)}>
    <dl class="keys">
      {shortcuts.map(([keys, meaning]) => (
        <>
          <dt key={keys}>
            <kbd>{keys}</kbd>
          </dt>
          <dd>{meaning}</dd>
        </>
      ))}
    </dl>
    <label class="row">
      <input type="checkbox" checked={preferences.value.keys} onChange={(event) => setPreference('keys', event.currentTarget.checked)} />
      Use single keys as shortcuts
    </label>
    <div class="row end">
      <button type="button" data-focused-first onClick={() => (isHelpOpen.value = false)}>
        Close
      </button>
    </div>
  </Dialog>
)

/** The frame of every screen: the bar at the side, the search, and the screen itself. */
export const Shell = () => (
  <div class="frame">
    <a class="skip" href="#main">
      Skip to the content
    </a>
    <SideBar />
    <div class="body">
      <TopBar />
      {isOffline.value && (
        <div class="banner" role="status">
          Kolbak does not respond. What you see may be out of date. The dashboard keeps trying.
        </div>
      )}
      <main id="main" tabIndex={-1}>
        {screenAt(path.value)}
      </main>
    </div>
    {isHelpOpen.value && <Help />}
  </div>
)
