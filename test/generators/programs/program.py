import json
from os import environ

from openapi_client import (
    ApiClient,
    AuthApi,
    Configuration,
    CreateWebhook,
    EventsApi,
    PostEvent,
    TokenRequest,
    WebhooksApi,
)
from openapi_client.exceptions import UnprocessableEntityException

host = environ["KOLBAK_URL"]
request = TokenRequest(
    grant_type="client_credentials",
    client_id=environ["KOLBAK_CLIENT_ID"],
    client_secret=environ["KOLBAK_CLIENT_SECRET"],
)
token = AuthApi(ApiClient(Configuration(host=host))).get_token(request)

client = ApiClient(Configuration(host=host, access_token=token.access_token))
events = EventsApi(client)
payload = {"order": {"lines": [{"sku": "A-1", "amount": 12.5}]}}
accepted = events.post_event(PostEvent(event="generated.python", source=None, payload=payload))
read = events.get_event(accepted.data.id)
try:
    WebhooksApi(client).create_webhook(CreateWebhook(callback_url="nonsense", event="x"))
    fault = None
except UnprocessableEntityException as refused:
    fault = refused.data.error.details[0].path
print(json.dumps({"id": accepted.data.id, "payload": read.data.payload, "fault": fault}))
