import { signal } from '@preact/signals'
import { preferences } from '../lib/preferences.ts'
import { navigate } from '../lib/router.ts'

/** Whether the list of shortcuts is open. */
export const isHelpOpen = signal(false)
export const destinations: Readonly<Record<string, string>> = {
  o: '/',
  w: '/webhooks',
  e: '/events',
  d: '/deliveries',
  p: '/problems',
  l: '/live',
  r: '/replays',
  k: '/keys',
  a: '/audit',
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.matches('input, select, textarea') || target.isContentEditable || target.closest('dialog') !== null)

/** Moves the focus to the link of another row of the list. */
function moveRow(step: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLElement>('main tbody tr a.main')]
  const current = links.findIndex((link) => link.closest('tr')?.contains(document.activeElement))
  links[current === -1 ? 0 : Math.min(links.length - 1, Math.max(0, current + step))]?.focus()
}

/** Follows the keyboard shortcuts: single keys, and `g` followed by the key of a screen. */
export function startKeys(): void {
  let isGoing = false
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !preferences.value.keys) return
    const destination = isGoing ? destinations[event.key] : undefined
    isGoing = event.key === 'g' && !isGoing
    if (destination !== undefined) navigate(destination)
    else if (event.key === '/') document.querySelector<HTMLInputElement>('#search')?.focus()
    else if (event.key === '?') isHelpOpen.value = true
    else if (event.key === 'j') moveRow(1)
    else if (event.key === 'k') moveRow(-1)
    else document.querySelector<HTMLElement>(`main [data-key="${CSS.escape(event.key)}"]`)?.click()
    if (event.key === '/') event.preventDefault()
  })
}
