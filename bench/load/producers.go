package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// work is the load that the producers must send. bench/producers.ts explains the fields.
type work struct {
	URL               string   `json:"url"`
	Tokens            []string `json:"tokens"`
	Events            []string `json:"events"`
	Seconds           float64  `json:"seconds"`
	Count             int64    `json:"count"`
	Bytes             int      `json:"bytes"`
	Batch             int      `json:"batch"`
	Producers         int      `json:"producers"`
	RequestsPerSecond float64  `json:"requestsPerSecond"`
	Settling          float64  `json:"settlingMs"`
}

// produced is the result of a load.
type produced struct {
	Accepted          int     `json:"accepted"`
	AcceptedPerSecond float64 `json:"acceptedPerSecond"`
	percentiles
	Failures map[string]int `json:"failures"`
}

// openLoopConnections is the number of connections when the producers do not wait for responses.
const openLoopConnections = 64

type producers struct {
	work
	host      string
	filler    string
	began     time.Time
	next      atomic.Int64
	mutex     sync.Mutex
	accepted  int
	latencies []float64
	failures  map[string]int
}

// produce sends the events of a load, and returns when all responses have arrived.
func produce(work work) produced {
	target, err := url.Parse(work.URL)
	if err != nil {
		panic(err)
	}
	p := &producers{work: work, host: target.Host, filler: strings.Repeat("x", work.Bytes), began: time.Now(), failures: map[string]int{}}
	if work.RequestsPerSecond > 0 {
		p.openLoop()
	} else {
		p.closedLoop()
	}
	took := time.Since(p.began).Seconds()
	return produced{p.accepted, float64(p.accepted) / took, percentilesOf(p.latencies), p.failures}
}

func (p *producers) end() time.Time {
	return p.began.Add(time.Duration(p.Seconds * float64(time.Second)))
}

func (p *producers) isDone() bool { return p.Count > 0 && p.next.Load() >= p.Count }

// closedLoop runs the producers. Each of them waits for the response before its next request.
func (p *producers) closedLoop() {
	var running sync.WaitGroup
	for i := 0; i < p.Producers; i++ {
		running.Add(1)
		go func() {
			defer running.Done()
			connection := &connection{host: p.host}
			defer connection.close()
			for time.Now().Before(p.end()) && !p.isDone() {
				p.post(connection, time.Now())
			}
		}()
	}
	running.Wait()
}

// openLoop sends each request when it is due, whether or not the responses of earlier ones have arrived.
func (p *producers) openLoop() {
	slots := make(chan struct{}, openLoopConnections)
	var idle connections
	var running sync.WaitGroup
	for n := 0; ; n++ {
		due := p.began.Add(time.Duration(float64(n) / p.RequestsPerSecond * float64(time.Second)))
		if due.After(p.end()) {
			break
		}
		time.Sleep(time.Until(due))
		running.Add(1)
		go func() {
			defer running.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			connection := idle.take(p.host)
			p.post(connection, due)
			idle.put(connection)
		}()
	}
	running.Wait()
	idle.close()
}

// post sends one request, and counts its response. The latency counts from the time at which the request was due.
func (p *producers) post(connection *connection, due time.Time) {
	first := p.next.Add(int64(p.Batch)) - int64(p.Batch)
	token := p.Tokens[first%int64(len(p.Tokens))]
	status, err := connection.post(p.path(), token, p.body(first, due))
	took := milliseconds(time.Since(due))
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch {
	case err != nil:
		p.failures[err.Error()]++
	case status != http.StatusAccepted:
		p.failures[strconv.Itoa(status)]++
	default:
		p.accepted += p.Batch
		if milliseconds(due.Sub(p.began)) >= p.Settling {
			p.latencies = append(p.latencies, took)
		}
	}
}

func (p *producers) path() string {
	if p.Batch == 1 {
		return "/v1/events"
	}
	return "/v1/events/batch"
}

func (p *producers) body(first int64, due time.Time) string {
	events := make([]string, p.Batch)
	for i := range events {
		n := first + int64(i)
		name := p.Events[n/int64(len(p.Tokens))%int64(len(p.Events))]
		events[i] = fmt.Sprintf(`{"id":"evt_%d_%d","event":"%s","payload":{"n":%d,"filler":"%s"}}`, due.UnixMicro(), n, name, n, p.filler)
	}
	if p.Batch == 1 {
		return events[0]
	}
	return `{"events":[` + strings.Join(events, ",") + `]}`
}

// connections are the idle connections of an open loop. The one that was used last is taken first, so that a low rate needs few connections.
type connections struct {
	mutex sync.Mutex
	idle  []*connection
}

func (c *connections) take(host string) *connection {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.idle) == 0 {
		return &connection{host: host}
	}
	last := c.idle[len(c.idle)-1]
	c.idle = c.idle[:len(c.idle)-1]
	return last
}

func (c *connections) put(connection *connection) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.idle = append(c.idle, connection)
}

func (c *connections) close() {
	for _, connection := range c.idle {
		connection.close()
	}
}

// idleLimit is shorter than the time after which node:http closes an idle connection (5 s).
const idleLimit = 4 * time.Second

// connection is a connection to the service, which is opened when it is needed.
type connection struct {
	host   string
	socket net.Conn
	reader *bufio.Reader
	usedAt time.Time
}

func (c *connection) post(path, token, body string) (int, error) {
	if time.Since(c.usedAt) > idleLimit {
		c.close()
	}
	if c.socket == nil {
		socket, err := net.Dial("tcp", c.host)
		if err != nil {
			return 0, err
		}
		c.socket, c.reader = socket, bufio.NewReader(socket)
	}
	_, err := fmt.Fprintf(c.socket, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, c.host, token, len(body), body)
	if err != nil {
		c.close()
		return 0, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err != nil {
		c.close()
		return 0, err
	}
	c.usedAt = time.Now()
	if response.Close {
		c.close()
	}
	return response.StatusCode, nil
}

func (c *connection) close() {
	if c.socket != nil {
		c.socket.Close()
		c.socket = nil
	}
}
