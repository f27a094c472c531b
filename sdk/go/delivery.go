package tidegate

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Plan says which requests deliver a batch: every event is sent, skipped or failed.
type Plan struct {
	Requests []Request
	Skipped  []Skipped
	Failed   []Failed
}

// Request is one HTTP request; Method is "POST" unless it says otherwise.
type Request struct {
	Method  string
	URL     string
	Headers map[string]string
	Body    []byte
	// Events are the places in the batch that this request carries.
	Events []uint32
	// Tag is handed back to classify.
	Tag string
}

// Skipped is an event that is left out on purpose.
type Skipped struct {
	Event  uint32
	Reason string
}

// Failed is an event for the quarantine.
type Failed struct {
	Event         uint32
	Code, Message string
}

// Send adds a request.
func (p *Plan) Send(request Request) { p.Requests = append(p.Requests, request) }

// SendJSON adds a POST of JSON.
func (p *Plan) SendJSON(url string, body []byte, events []uint32) {
	p.Send(Request{URL: url, Headers: map[string]string{"content-type": "application/json"}, Body: body, Events: events})
}

// Skip leaves an event out on purpose.
func (p *Plan) Skip(event uint32, reason string) {
	p.Skipped = append(p.Skipped, Skipped{event, reason})
}

// Fail puts an event into quarantine.
func (p *Plan) Fail(event uint32, code, message string) {
	p.Failed = append(p.Failed, Failed{event, code, message})
}

// Failure is an error with a code, which sends one event to quarantine.
type Failure struct{ Code, Message string }

func (f *Failure) Error() string { return f.Message }

// Failing is the error that sends one event to quarantine under a code.
func Failing(code, message string) error { return &Failure{code, message} }

type skip string

func (s skip) Error() string { return string(s) }

// Skipping is the error that leaves one event out on purpose.
func Skipping(reason string) error { return skip(reason) }

// Each hands every event to record and notes in the plan those for which it answers Skipping or Failing. Any other error,
// and a panic, costs that one event and no other.
func (p *Plan) Each(events []Event, record func(place uint32, event Event) error) {
	for i, event := range events {
		place := uint32(i)
		switch err := guarded(place, event, record).(type) {
		case nil:
		case skip:
			p.Skip(place, string(err))
		case *Failure:
			p.Fail(place, err.Code, err.Message)
		default:
			p.Fail(place, "unexpected", err.Error())
		}
	}
}

func guarded(place uint32, event Event, record func(place uint32, event Event) error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = &Failure{"go-panic", panicMessage(reason)}
		}
	}()
	if event == nil {
		return Failing("not-an-object", "the event is no JSON object")
	}
	return record(place, event)
}

// Entry is what the tool gets of some events of the batch, nearly always of one, as JSON.
type Entry struct {
	Events []uint32
	JSON   []byte
}

// Records is the tool's record of each event as JSON. record answers Skipping or Failing for events that have none. A
// value that is no JSON, such as NaN, fails that one event.
func (p *Plan) Records(events []Event, record func(event Event) (any, error)) (entries []Entry) {
	p.Each(events, func(place uint32, event Event) error {
		made, err := record(event)
		if err != nil {
			return err
		}
		text, err := Encode(made)
		if err != nil {
			return Failing("not-json", err.Error())
		}
		entries = append(entries, Entry{[]uint32{place}, text})
		return nil
	})
	return entries
}

// Chunks are runs of at most countMax entries whose JSON, with the commas between them, has at most bytesMax bytes. An
// entry that is larger alone fails with the code `too-large`.
func (p *Plan) Chunks(entries []Entry, countMax, bytesMax int) (chunks [][]Entry) {
	used := 0
	for _, entry := range entries {
		size := len(entry.JSON)
		if size > bytesMax {
			for _, event := range entry.Events {
				p.Fail(event, "too-large", fmt.Sprintf("the tool takes %d bytes; this event has %d", bytesMax, size))
			}
			continue
		}
		last := len(chunks) - 1
		if last < 0 || len(chunks[last]) == countMax || used+1+size > bytesMax {
			chunks, used = append(chunks, []Entry{entry}), size
			continue
		}
		chunks[last], used = append(chunks[last], entry), used+1+size
	}
	return chunks
}

// JSONArray is the entries of a chunk as a JSON array, and the events that it carries.
func JSONArray(chunk []Entry) (array []byte, events []uint32) {
	array = append(array, '[')
	for i, entry := range chunk {
		if i > 0 {
			array = append(array, ',')
		}
		array = append(array, entry.JSON...)
		events = append(events, entry.Events...)
	}
	return append(array, ']'), events
}

// Response is what came back for one request; names of headers are in lower case.
type Response struct {
	Status  uint16
	Headers map[string]string
	// Body is the first 64 KiB.
	Body    []byte
	Attempt uint32
	// NowMs is when it came, in Unix milliseconds.
	NowMs uint64
}

// JSON reads the body and says whether it is JSON that fits.
func (r Response) JSON(into any) bool { return json.Unmarshal(r.Body, into) == nil }

// IsOfProxy says whether a 403 or 404 comes from a proxy or firewall on the way: the tool's own have a JSON object for a body.
func (r Response) IsOfProxy() bool {
	var answer map[string]any
	return (r.Status == 403 || r.Status == 404) && (!r.JSON(&answer) || answer == nil)
}

// Excerpt is the beginning of the body, for people.
func (r Response) Excerpt() string {
	return strings.ToValidUTF8(string(r.Body[:min(len(r.Body), 300)]), "?")
}

// RetryAfterMs is what `Retry-After` asks to wait, given as seconds or as a date; 0 when it says nothing readable.
func (r Response) RetryAfterMs() uint32 {
	said := strings.TrimSpace(r.Headers["retry-after"])
	if seconds, err := strconv.ParseUint(said, 10, 32); err == nil {
		return uint32(min(seconds*1000, 1<<32-1))
	}
	date, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", said)
	if err != nil {
		return 0
	}
	return uint32(min(max(date.Sub(time.UnixMilli(int64(r.NowMs))).Milliseconds(), 0), 1<<32-1))
}

// Verdict is what a response means for the events of its request.
type Verdict struct {
	Kind VerdictKind
	// AfterMs is the least pause before a retry; 0 leaves it to the host.
	AfterMs       uint32
	Code, Message string
	// Events of a partial verdict: those to be retried (true) or rejected (false); all others were delivered.
	Events map[uint32]bool
}

// VerdictKind is which verdict it is.
type VerdictKind string

// The kinds of verdicts, each with a function that makes one.
const (
	KindDelivered      VerdictKind = "delivered"
	KindRetry          VerdictKind = "retry"
	KindReauthenticate VerdictKind = "reauthenticate"
	KindRejected       VerdictKind = "rejected"
	KindPartial        VerdictKind = "partial"
	KindDisable        VerdictKind = "disable"
	KindBisect         VerdictKind = "bisect"
)

// Delivered says that the far side has them.
func Delivered() Verdict { return Verdict{Kind: KindDelivered} }

// Retry asks for another try, not before this many milliseconds; 0 leaves it to the host.
func Retry(afterMs uint32) Verdict { return Verdict{Kind: KindRetry, AfterMs: afterMs} }

// Reauthenticate forgets cached credentials, then tries again.
func Reauthenticate() Verdict { return Verdict{Kind: KindReauthenticate} }

// Rejected puts the events into quarantine.
func Rejected(code, message string) Verdict {
	return Verdict{Kind: KindRejected, Code: code, Message: message}
}

// Disable stops this destination and tells its owner.
func Disable(code, message string) Verdict {
	return Verdict{Kind: KindDisable, Code: code, Message: message}
}

// Partial says of single events that they are to be retried (true) or are rejected (false); all others are delivered.
func Partial(events map[uint32]bool) Verdict {
	if len(events) == 0 {
		return Delivered()
	}
	return Verdict{Kind: KindPartial, Events: events}
}

// Bisect says that the tool refused the whole request, took nothing of it and names nobody. The host sends the events
// again in halves, at once; an event that is refused alone goes to quarantine with this code.
func Bisect(code, message string) Verdict {
	return Verdict{Kind: KindBisect, Code: code, Message: message}
}

// ClassifyByStatus is what most APIs mean: 2xx delivered; 401 sign in again; 408, 423, 425, 429 and 5xx later, as
// `Retry-After` says; a 403 or 404 whose body is no JSON comes from a proxy on the way and is tried later; anything else
// refuses the request (see Bisect).
func ClassifyByStatus(_ string, _ []uint32, response Response) Verdict {
	switch status := response.Status; {
	case status >= 200 && status < 300:
		return Delivered()
	case status == 401:
		return Reauthenticate()
	case status == 408 || status == 423 || status == 425 || status == 429 || status >= 500,
		response.IsOfProxy():
		return Retry(response.RetryAfterMs())
	default:
		return Bisect(fmt.Sprintf("http-%d", status), fmt.Sprintf("answered %d: %s", status, response.Excerpt()))
	}
}
