import { Code } from '../../parts/text.tsx'

const node = `import express from 'express'
import { Webhook } from 'standardwebhooks' // npm install standardwebhooks

const webhook = new Webhook('whsec_...') // the secret of this webhook
const app = express()

// The signature is over the raw bytes, so parse the body only after the check.
app.post('/webhooks', express.raw({ type: '*/*' }), (request, response) => {
  let event
  try {
    event = webhook.verify(request.body, request.headers)
  } catch {
    return response.status(401).end()
  }
  response.status(204).end() // Respond first, and do the work afterwards.
  console.log(event.id, event.event, event.payload)
})
app.listen(8080)
`
const python = `from flask import Flask, request
from standardwebhooks.webhooks import Webhook  # pip install standardwebhooks

webhook = Webhook("whsec_...")  # the secret of this webhook
app = Flask(__name__)

@app.post("/webhooks")
def receive():
    try:
        event = webhook.verify(request.get_data(), request.headers)
    except Exception:
        return "", 401
    print(event["id"], event["event"], event["payload"])
    return "", 204
`
/** Code that receives events and verifies their signatures. */
export const Receiver = () => (
  <section class="stack">
    <p>
      Every request is signed by the rules of Standard Webhooks, for which there are libraries in many languages. The secret was shown when
      the webhook was created. An event can come twice: keep the ids that you have seen.
    </p>
    <h2>Node.js</h2>
    <Code text={node} label="the code for Node.js" />
    <h2>Python</h2>
    <Code text={python} label="the code for Python" />
  </section>
)
