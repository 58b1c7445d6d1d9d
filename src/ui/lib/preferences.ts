import { effect, signal } from '@preact/signals'

/** The choices of a person about the dashboard. Nothing else is stored in the browser. */
interface Preferences {
  readonly theme: 'auto' | 'light' | 'dark'
  readonly zone: 'local' | 'utc'
  /** Whether single keys are shortcuts. */
  readonly keys: boolean
}
const storageKey = 'kolbak-ui'
const initial: Preferences = { theme: 'auto', zone: 'local', keys: true }

function load(): Preferences {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(storageKey) ?? '{}')
    const { theme, zone, keys } = (stored ?? {}) as Partial<Preferences>
    return {
      theme: theme === 'light' || theme === 'dark' ? theme : 'auto',
      zone: zone === 'utc' ? 'utc' : 'local',
      keys: keys !== false,
    }
  } catch {
    return initial // the storage may be forbidden or hold something else
  }
}

export const preferences = signal<Preferences>(load())
export function setPreference<K extends keyof Preferences>(name: K, value: Preferences[K]): void {
  preferences.value = { ...preferences.value, [name]: value }
  try {
    localStorage.setItem(storageKey, JSON.stringify(preferences.value))
  } catch {
    // Without storage, the choice lasts as long as the page.
  }
}
/** Keeps the page in the chosen theme. */
export const followTheme = () =>
  effect(() => {
    document.documentElement.dataset.theme = preferences.value.theme
  })
