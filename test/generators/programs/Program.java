import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.AuthApi;
import org.openapitools.client.api.EventsApi;
import org.openapitools.client.api.WebhooksApi;
import org.openapitools.client.model.CreateWebhook;
import org.openapitools.client.model.ErrorResponse;
import org.openapitools.client.model.PostEvent;
import org.openapitools.client.model.Token;
import org.openapitools.client.model.TokenRequest;

public class Program {
  public static void main(String[] args) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(System.getenv("KOLBAK_URL"));
    Token token = new AuthApi(client).getToken(new TokenRequest()
        .grantType("client_credentials")
        .clientId(System.getenv("KOLBAK_CLIENT_ID"))
        .clientSecret(System.getenv("KOLBAK_CLIENT_SECRET")));
    client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token.getAccessToken()));

    EventsApi events = new EventsApi(client);
    Map<String, Object> order = Map.of("lines", List.of(Map.of("sku", "A-1", "amount", 12.5)));
    PostEvent event = new PostEvent().event("generated.java").payload(Map.of("order", order));
    String id = events.postEvent(event).getData().getId();

    Map<String, Object> printed = new LinkedHashMap<>();
    printed.put("id", id);
    printed.put("payload", events.getEvent(id).getData().getPayload());
    ObjectMapper mapper = client.getObjectMapper();
    try {
      new WebhooksApi(client).createWebhook(new CreateWebhook().callbackUrl("nonsense").event("x"), null);
    } catch (ApiException refused) {
      ErrorResponse error = mapper.readValue(refused.getResponseBody(), ErrorResponse.class);
      printed.put("fault", error.getError().getDetails().get(0).getPath());
    }
    System.out.println(mapper.writeValueAsString(printed));
  }
}
