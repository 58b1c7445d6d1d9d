import { existsSync } from 'node:fs'
import { env } from 'node:process'
import { type Browser, chromium } from 'playwright-core'

const usualPaths = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable']

/** Returns the path of a Chromium on this machine, or null. `KOLBAK_TEST_CHROMIUM` names another one. */
export const findChromium = (): string | null =>
  [env.KOLBAK_TEST_CHROMIUM ?? '', ...usualPaths, chromium.executablePath()].find((path) => path !== '' && existsSync(path)) ?? null

/** Starts a real Chromium. Skips the suite, with a line that says so, on a machine without one. Call this in a `before` hook. */
export async function startBrowser(context: Mocha.Context): Promise<Browser> {
  const executablePath = findChromium()
  if (executablePath === null) {
    console.warn('    skipped, because there is no Chromium on this machine: install it by apt-get install chromium')
    return context.skip()
  }
  return chromium.launch({ executablePath, args: ['--no-sandbox'] })
}
