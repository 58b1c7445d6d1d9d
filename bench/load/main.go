// Program load is the load of the benchmark: producers and a receiver in one process, which costs much less CPU than they would in Node.
// It prints its origin as the first line. As a receiver, POST /hook responds with 200, /failing with 503 once in ten requests, and /hanging
// never. GET / returns counts and percentiles, and GET /reset?settling=<ms> also resets them. POST /produce with a JSON of work produces
// events until the work is done, and returns the result. bench/receiver.ts and bench/producers.ts do the same in Node.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	receiver := newReceiver()
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection, receiver)
	}
}

// serve responds to the requests of one connection. It parses with net/http, but has no server of net/http, which would double its cost.
func serve(connection net.Conn, receiver *receiver) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		switch {
		case request.Method == http.MethodGet:
			report := receiver.report()
			if strings.HasPrefix(request.URL.Path, "/reset") {
				settling, _ := strconv.ParseFloat(request.URL.Query().Get("settling"), 64)
				receiver.reset(time.Duration(settling * float64(time.Millisecond)))
			}
			respondJSON(connection, report)
		case request.URL.Path == "/produce":
			var work work
			if err := json.NewDecoder(request.Body).Decode(&work); err != nil {
				log.Fatal(err)
			}
			respondJSON(connection, produce(work))
		default:
			io.Copy(io.Discard, request.Body)
			if response := receiver.receive(request.URL.Path, request.Header.Get("webhook-id")); response != nil {
				connection.Write(response)
			}
		}
	}
}

func respondJSON(connection net.Conn, value any) {
	body, _ := json.Marshal(value)
	var response bytes.Buffer
	fmt.Fprintf(&response, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	connection.Write(response.Bytes())
}
