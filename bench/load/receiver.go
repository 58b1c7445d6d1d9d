package main

import (
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	ok          = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	unavailable = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
)

// received is a report of the receiver.
type received struct {
	Requests int `json:"requests"`
	// Deliveries is the number of different pairs of webhook-id and path. A repeated request is not counted again.
	Deliveries int `json:"deliveries"`
	percentiles
}

// percentiles are in milliseconds.
type percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// receiver counts requests. The id of a message contains the time of sending, so the receiver can compute how long the message was on its way.
type receiver struct {
	mutex           sync.Mutex
	arrived         map[string]struct{}
	requests        int
	latencies       []float64
	failingRequests int
	// settling is the time after the first event that the percentiles leave out.
	settling    time.Duration
	firstSentAt time.Time
}

func newReceiver() *receiver { return &receiver{arrived: map[string]struct{}{}} }

// receive counts a request, and returns the response, or nil for a path that never gets one.
func (r *receiver) receive(path, id string) []byte {
	now := time.Now()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if strings.HasPrefix(path, "/hanging") {
		return nil
	}
	if strings.HasPrefix(path, "/failing") {
		r.failingRequests++
		if r.failingRequests%10 == 0 {
			return unavailable
		}
	}
	r.requests++
	key := id + " " + path
	if _, again := r.arrived[key]; again {
		return ok
	}
	r.arrived[key] = struct{}{}
	sentAt, isKnown := sendingTime(id)
	if !isKnown {
		return ok
	}
	if r.firstSentAt.IsZero() {
		r.firstSentAt = sentAt
	}
	if sentAt.Sub(r.firstSentAt) >= r.settling {
		r.latencies = append(r.latencies, milliseconds(now.Sub(sentAt)))
	}
	return ok
}

// sendingTime returns the time in an id such as evt_<µs since 1970>_<number>.
func sendingTime(id string) (time.Time, bool) {
	parts := strings.Split(id, "_")
	if len(parts) < 3 {
		return time.Time{}, false
	}
	micros, err := strconv.ParseInt(parts[1], 10, 64)
	return time.UnixMicro(micros), err == nil
}

func (r *receiver) report() received {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return received{r.requests, len(r.arrived), percentilesOf(r.latencies)}
}

func (r *receiver) reset(settling time.Duration) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.arrived = map[string]struct{}{}
	r.requests = 0
	r.latencies = nil
	r.settling = settling
	r.firstSentAt = time.Time{}
}

func milliseconds(duration time.Duration) float64 {
	return float64(duration) / float64(time.Millisecond)
}

func percentilesOf(values []float64) percentiles {
	sorted := append([]float64{}, values...)
	sort.Float64s(sorted)
	at := func(share float64) float64 {
		if len(sorted) == 0 {
			return 0
		}
		return sorted[min(len(sorted)-1, int(float64(len(sorted))*share))]
	}
	return percentiles{at(0.5), at(0.95), at(0.99)}
}
