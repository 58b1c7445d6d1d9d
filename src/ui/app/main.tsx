import '../style/app.css'
import { Component, type ComponentChildren, render } from 'preact'
import { isOffline, isSignedIn } from '../lib/api.ts'
import { followTheme } from '../lib/preferences.ts'
import { startRouter } from '../lib/router.ts'
import { startFailure, startSession } from '../lib/session.ts'
import { Failed } from '../parts/messages.tsx'
import { SignIn } from '../screens/sign-in/sign-in.tsx'
import { startKeys } from './keys.ts'
import { Shell } from './shell.tsx'

/** Shows a fault of the dashboard itself in the place of the screen, so that the page never stays white. */
class Safe extends Component<{ children: ComponentChildren }, { error: Error | null }> {
  override state = { error: null }
  static override getDerivedStateFromError = (error: Error) => ({ error })
  override render() {
    const { error }: { error: Error | null } = this.state
    if (error === null) return this.props.children
    return (
      <main>
        <h1>The dashboard has a fault</h1>
        <p>
          {(error as Error).message} <a href="/ui/">Begin again</a>
        </p>
      </main>
    )
  }
}

function App() {
  if (isSignedIn.value === true) return <Shell />
  if (isSignedIn.value === false) return <SignIn />
  if (startFailure.value === null) return null
  return (
    <main>
      <h1>Kolbak</h1>
      <Failed failure={startFailure.value} retry={startSession} />
    </main>
  )
}

followTheme()
startRouter()
startKeys()
const root = document.getElementById('app')
if (root !== null)
  render(
    <Safe>
      <App />
    </Safe>,
    root,
  )
startSession()
isOffline.subscribe((isDown) => {
  if (!isDown && startFailure.value?.code === 'no_response') startSession()
})
