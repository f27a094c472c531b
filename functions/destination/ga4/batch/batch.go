// Package batch reads events and makes plans, apart from Tidegate's bindings, so that tests run natively.
package batch

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Fields is a JSON object. Numbers are json.Number: every digit stays.
type Fields = map[string]any

// Failure says why an event, a request or the whole destination cannot go on.
type Failure struct {
	Code    string
	Message string
}

func (f *Failure) Error() string { return f.Message }

// Fail is an error that sends an event to quarantine under code.
func Fail(code, message string) error { return &Failure{Code: code, Message: message} }

// Skip says why an event is left out on purpose.
type Skip string

func (s Skip) Error() string { return string(s) }

// Request is a POST of JSON.
type Request struct {
	URL    string
	Body   []byte
	Events []uint32
}

// Plan has every event of a batch once: in a request, skipped or failed.
type Plan struct {
	Requests []Request
	Skipped  []Skipped
	Failed   []Failed
}

// Skipped is an event left out, and why.
type Skipped struct {
	Event  uint32
	Reason string
}

// Failed is an event for the quarantine.
type Failed struct {
	Event uint32
	Failure
}

// Each hands every event to record, and notes in the plan those that record refuses.
func (p *Plan) Each(events []Fields, record func(place uint32, event Fields) error) {
	for i, event := range events {
		place := uint32(i)
		switch err := record(place, event).(type) {
		case nil:
		case Skip:
			p.Skipped = append(p.Skipped, Skipped{place, string(err)})
		case *Failure:
			p.Failed = append(p.Failed, Failed{place, *err})
		default:
			p.Failed = append(p.Failed, Failed{place, Failure{"unexpected", err.Error()}})
		}
	}
}

// JSON is value as JSON, with < and > as they are.
func JSON(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	// Values come from JSON, so they become JSON.
	_ = encoder.Encode(value)
	return bytes.TrimRight(out.Bytes(), "\n")
}

// Object is the object below names; nil when there is none. Reading a nil map is fine.
func Object(from Fields, names ...string) Fields {
	for _, name := range names {
		from, _ = from[name].(Fields)
	}
	return from
}

// Text is the first non-empty text, or number as text, under names.
func Text(from Fields, names ...string) string {
	for _, name := range names {
		switch value := from[name].(type) {
		case string:
			if value != "" {
				return value
			}
		case json.Number:
			return value.String()
		}
	}
	return ""
}

// Number is the first number under names; ok is false when there is none.
func Number(from Fields, names ...string) (number json.Number, ok bool) {
	for _, name := range names {
		if number, ok = from[name].(json.Number); ok {
			return number, true
		}
	}
	return "", false
}

// Time is when the event happened.
func Time(event Fields) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, Text(event, "timestamp"))
	if err != nil {
		return at, Fail("no-timestamp", "the event has no timestamp that can be read")
	}
	return at, nil
}

// Verdict is what an answer means for the events of its request.
type Verdict struct {
	Kind Kind
	// AfterMS is the least pause before a retry; 0 leaves it to the host.
	AfterMS uint32
	Failure Failure
}

// Kind of a verdict.
type Kind int

// Delivered: they arrived. Retry: again later. Rejected: to quarantine. Disable: the destination stops.
const (
	Delivered Kind = iota
	Retry
	Rejected
	Disable
)

// ByStatus is what the status alone means, for what a tool does not say more precisely.
func ByStatus(status uint16, retryAfter string, body []byte) Verdict {
	excerpt := strings.ToValidUTF8(string(body[:min(len(body), 200)]), "?")
	verdict := func(kind Kind, code string) Verdict {
		return Verdict{Kind: kind, Failure: Failure{Code: code, Message: "answered " + strconv.Itoa(int(status)) + ": " + excerpt}}
	}
	switch {
	case status >= 200 && status < 300:
		return Verdict{Kind: Delivered}
	case status == 408 || status == 429 || status >= 500:
		return Verdict{Kind: Retry, AfterMS: RetryAfterMS(retryAfter)}
	case status == 401 || status == 403:
		return verdict(Disable, "unauthorized")
	case status == 413:
		return verdict(Rejected, "too-large")
	default:
		return verdict(Rejected, "refused")
	}
}

// RetryAfterMS is what a retry-after header in seconds asks for; 0 when there is none. A date is left to the host.
func RetryAfterMS(retryAfter string) uint32 {
	seconds, err := strconv.ParseUint(strings.TrimSpace(retryAfter), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(min(seconds*1000, 1<<32-1))
}
