// Program load has the producers and the receiver of the benchmark in one process. It needs much less CPU than the same programs in Node,
// bench/receiver.ts and bench/producers.ts. It prints its origin as the first line. POST /hook always gets a 200. POST /failing gets a 503
// once in ten requests, and otherwise a 200. POST /hanging gets no response. GET / returns counts and percentiles. GET /reset?settling=<ms>
// also resets them, and the percentiles then leave out the events of the first <ms> milliseconds. The body of POST /produce describes a
// load as JSON (the type work). This request sends the events of the load, and returns the result when they are sent.
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
