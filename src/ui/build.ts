// Builds the dashboard in advance (`node src/ui/build.ts`), so that the first visitor does not wait for the bundler.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleSources, bundleVerifyPage, hashOfSources, prebuilt } from './bundle.ts'

const { script, style } = await bundleSources()
await mkdir(prebuilt.folder, { recursive: true })
await writeFile(join(prebuilt.folder, prebuilt.script), script)
await writeFile(join(prebuilt.folder, prebuilt.style), style)
await writeFile(join(prebuilt.folder, prebuilt.verifyPage), await bundleVerifyPage())
await writeFile(join(prebuilt.folder, prebuilt.hash), await hashOfSources())
