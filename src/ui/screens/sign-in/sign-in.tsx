import { useState } from 'preact/hooks'
import { useAction } from '../../lib/query.ts'
import { signIn, startFailure } from '../../lib/session.ts'
import { Field, onSubmit } from '../../parts/form.tsx'
import { Failed } from '../../parts/messages.tsx'

/** The form by which a person signs in. It stays on the URL of the screen that was asked for, so that this screen follows. */
export function SignIn() {
  const [kind, setKind] = useState<'client' | 'key'>('client')
  const [hasCapsLock, setCapsLock] = useState(false)
  const action = useAction(signIn)
  const noteCapsLock = (event: KeyboardEvent) => setCapsLock(event.getModifierState('CapsLock'))
  return (
    <div class="sign-in">
      <main>
        <h1>Sign in to Kolbak</h1>
        {action.failure === null && startFailure.value !== null && <Failed failure={startFailure.value} />}
        {action.failure !== null && <Failed failure={action.failure} />}
        <form onSubmit={onSubmit((values) => action.run(values))}>
          {kind === 'client' ? (
            <>
              <Field label="Client id" name="client_id" autoComplete="username" required key="client_id" />
              <Field
                label="Client secret"
                name="client_secret"
                key="client_secret"
                autoComplete="current-password"
                type="password"
                required
                onKeyUp={noteCapsLock}
                hint={hasCapsLock ? 'Caps Lock is on.' : 'When Kolbak starts, it says where the secret of the admin client is.'}
              />
            </>
          ) : (
            <Field
              label="API key"
              name="key"
              key="key"
              type="password"
              required
              onKeyUp={noteCapsLock}
              hint={hasCapsLock ? 'Caps Lock is on.' : '12 characters. You see the webhooks that the key created.'}
            />
          )}
          <button type="submit" class="primary" disabled={action.isRunning}>
            {action.isRunning ? 'Signing in …' : 'Sign in'}
          </button>
        </form>
        <button
          type="button"
          class="quiet"
          onClick={() => {
            setKind(kind === 'client' ? 'key' : 'client')
            action.reset()
          }}
        >
          {kind === 'client' ? 'Use an API key instead' : 'Use a client id and secret instead'}
        </button>
      </main>
    </div>
  )
}
