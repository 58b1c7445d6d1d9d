package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	openapi "github.com/kolbak/client"
)

func main() {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Getenv("KOLBAK_URL")}}
	client := openapi.NewAPIClient(configuration)
	request := openapi.NewTokenRequest()
	request.SetGrantType("client_credentials")
	request.SetClientId(os.Getenv("KOLBAK_CLIENT_ID"))
	request.SetClientSecret(os.Getenv("KOLBAK_CLIENT_SECRET"))
	token, _, err := client.AuthAPI.GetToken(context.Background()).TokenRequest(*request).Execute()
	if err != nil {
		log.Fatal(err)
	}
	configuration.AddDefaultHeader("Authorization", "Bearer "+token.AccessToken)

	lines := []map[string]any{{"sku": "A-1", "amount": 12.5}}
	event := openapi.NewPostEvent("generated.go", map[string]any{"order": map[string]any{"lines": lines}})
	accepted, _, err := client.EventsAPI.PostEvent(context.Background()).PostEvent(*event).Execute()
	if err != nil {
		log.Fatal(err)
	}
	read, _, err := client.EventsAPI.GetEvent(context.Background(), accepted.Data.Id).Execute()
	if err != nil {
		log.Fatal(err)
	}
	webhook := openapi.NewCreateWebhook("nonsense", "x")
	_, _, err = client.WebhooksAPI.CreateWebhook(context.Background()).CreateWebhook(*webhook).Execute()
	var refused *openapi.GenericOpenAPIError
	if !errors.As(err, &refused) {
		log.Fatal("the webhook was not refused")
	}
	fault := refused.Model().(openapi.ErrorResponse).Error.Details[0].Path
	printed, err := json.Marshal(map[string]any{"id": accepted.Data.Id, "payload": read.Data.Payload, "fault": fault})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(printed))
}
