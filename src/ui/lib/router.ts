import { computed, signal } from '@preact/signals'

const base = '/ui'
const read = () => ({ path: location.pathname.slice(base.length) || '/', search: location.search })
const current = signal(read())

/** The path of the screen, without the prefix of the dashboard: `/webhooks/01J...`. */
export const path = computed(() => current.value.path)
/** The parameters of the screen, which hold all of its state. */
export const params = computed(() => new URLSearchParams(current.value.search))

/** Returns the URL of a screen of the dashboard. */
export const urlOf = (screen: string): string => base + screen

export function navigate(screen: string, { replace = false } = {}): void {
  const before = current.value.path
  if (replace) history.replaceState(null, '', urlOf(screen))
  else history.pushState(null, '', urlOf(screen))
  current.value = read()
  if (before !== current.value.path) scrollTo(0, 0)
}
/** Changes parameters of the present screen. An empty value removes its parameter. */
export function setParams(changes: Readonly<Record<string, string | null>>, { replace = true } = {}): void {
  const next = new URLSearchParams(current.value.search)
  for (const [name, value] of Object.entries(changes))
    if (value === null || value === '') next.delete(name)
    else next.set(name, value)
  const search = next.toString()
  navigate(current.value.path + (search === '' ? '' : `?${search}`), { replace })
}

/**
 * Follows the main link of the row that was clicked. The link does not cover the row, because its text could then not be selected. A click that ends
 * a selection, and a click on another control, do nothing here.
 */
function followRow({ ctrlKey, metaKey, shiftKey }: MouseEvent, target: Element): void {
  if (target.closest('button, input, select, textarea, label, summary') !== null || getSelection()?.isCollapsed === false) return
  const init = { bubbles: true, cancelable: true, ctrlKey, metaKey, shiftKey }
  target.closest('tbody tr')?.querySelector('a.main')?.dispatchEvent(new MouseEvent('click', init))
}

/** Follows the browser's history, and shows links to screens without loading the page again. */
export function startRouter(): void {
  addEventListener('popstate', () => {
    current.value = read()
  })
  addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null
    if (link === null && event.button === 0 && event.target instanceof Element) followRow(event, event.target)
    if (link === null || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return
    if (link.origin !== location.origin || !link.pathname.startsWith(`${base}/`) || link.target !== '' || link.hasAttribute('download'))
      return
    if (link.hash !== '' && link.pathname === location.pathname) return
    event.preventDefault()
    navigate(link.pathname.slice(base.length) + link.search)
  })
}
