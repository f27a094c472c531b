package tidegate

import (
	"fmt"
	"strconv"
	"strings"

	"{{module}}/tidegate/bindings/export_tidegate_plugin_destination"
	destination "{{module}}/tidegate/bindings/tidegate_plugin_destination"
	secrets "{{module}}/tidegate/bindings/tidegate_plugin_secrets"
	types "{{module}}/tidegate/bindings/tidegate_plugin_types"
	witTypes "{{module}}/tidegate/bindings/wit/types"
)

// Plan says which requests deliver a batch: every event is sent, skipped or failed.
type Plan struct{ made destination.Plan }

// Request is one HTTP request; Method is "POST" unless it says otherwise.
type Request struct {
	Method  string
	URL     string
	Headers map[string]string
	Body    []byte
	Events  []uint32
	Tag     string
}

// Send adds a request.
func (p *Plan) Send(request Request) {
	method, known := map[string]uint8{"": destination.MethodPost, "GET": destination.MethodGet, "POST": destination.MethodPost,
		"PUT": destination.MethodPut, "PATCH": destination.MethodPatch, "DELETE": destination.MethodDelete}[request.Method]
	if !known {
		panic("there is no method " + request.Method)
	}
	headers := make([]witTypes.Tuple2[string, string], 0, len(request.Headers))
	for name, value := range request.Headers {
		headers = append(headers, witTypes.Tuple2[string, string]{F0: name, F1: value})
	}
	p.made.Requests = append(p.made.Requests, destination.Request{Method: method, Url: request.URL, Headers: headers,
		Body: request.Body, Events: request.Events, Tag: request.Tag})
}

// Skip filters an event on purpose.
func (p *Plan) Skip(event uint32, reason string) {
	p.made.Skipped = append(p.made.Skipped, destination.Skipped{Event: event, Reason: reason})
}

// Fail puts an event into quarantine.
func (p *Plan) Fail(event uint32, code, message string) {
	p.made.Failed = append(p.made.Failed, destination.Failed{Event: event, Error: complaint(code, message)})
}

// Response is what came back for one request; names of headers are in lower case.
type Response struct {
	Status  uint16
	Headers map[string]string
	Body    []byte
	Attempt uint32
}

// Verdict is what a response means for the events of its request.
type Verdict = destination.Verdict

// Delivered says that the far side has them.
func Delivered() Verdict { return destination.MakeVerdictDelivered() }

// Retry asks for another try, not before this many milliseconds; 0 leaves it to the host.
func Retry(afterMs uint32) Verdict {
	if afterMs == 0 {
		return destination.MakeVerdictRetry(witTypes.None[uint32]())
	}
	return destination.MakeVerdictRetry(witTypes.Some(afterMs))
}

// Reauthenticate forgets cached credentials, then tries again.
func Reauthenticate() Verdict { return destination.MakeVerdictReauthenticate() }

// Rejected puts the events into quarantine.
func Rejected(code, message string) Verdict { return destination.MakeVerdictRejected(complaint(code, message)) }

// Disable stops this destination and tells its owner.
func Disable(code, message string) Verdict { return destination.MakeVerdictDisable(complaint(code, message)) }

// Partial says of single events that they are to be retried (true) or are rejected (false); all others are delivered.
func Partial(events map[uint32]bool) Verdict {
	list := make([]witTypes.Tuple2[uint32, bool], 0, len(events))
	for event, retry := range events {
		list = append(list, witTypes.Tuple2[uint32, bool]{F0: event, F1: retry})
	}
	return destination.MakeVerdictPartial(list)
}

// ClassifyByStatus is what most APIs mean: 2xx delivered, 401 sign in again, 408, 425, 429 and 5xx later, all else never.
func ClassifyByStatus(_ string, _ []uint32, response Response) Verdict {
	switch status := response.Status; {
	case status >= 200 && status < 300:
		return Delivered()
	case status == 401:
		return Reauthenticate()
	case status == 408 || status == 425 || status == 429 || status >= 500:
		seconds, _ := strconv.ParseUint(response.Headers["retry-after"], 10, 20)
		return Retry(uint32(seconds) * 1000)
	default:
		return Rejected(fmt.Sprintf("http-%d", status), string(response.Body))
	}
}

// Sign is the HMAC-SHA-256 of data under the secret called `secret`; the plugin never sees the secret.
func Sign(secret string, data []byte) ([]byte, error) {
	signed := secrets.Sign(secrets.MacHmacSha256, secrets.MakeMacKeyNamed(secret), data)
	if signed.IsErr() {
		return nil, fmt.Errorf("%s", signed.Err())
	}
	return signed.Ok(), nil
}

func complaint(code, message string) types.PluginError {
	return types.PluginError{Kind: types.ErrorKindInvalidEvent, Code: code, Message: message}
}

// Deliver makes these the functions of this plugin; call it in init.
func Deliver(prepare func(events []Event, context *Context) *Plan, classify func(tag string, events []uint32, response Response) Verdict) {
	export_tidegate_plugin_destination.PrepareHook = func(batch []string) (made witTypes.Result[destination.Plan, types.BatchError]) {
		defer func() {
			if reason := recover(); reason != nil {
				made = witTypes.Err[destination.Plan, types.BatchError](types.MakeBatchErrorFatal(caught(reason)))
			}
		}()
		events := make([]Event, len(batch))
		for i, text := range batch {
			if err := decode(text, &events[i]); err != nil {
				panic(err)
			}
		}
		return witTypes.Ok[destination.Plan, types.BatchError](prepare(events, context()).made)
	}
	export_tidegate_plugin_destination.ClassifyHook = func(tag string, events []uint32, raw destination.Response) (verdict Verdict) {
		defer func() {
			if reason := recover(); reason != nil {
				// It says neither that the events arrived nor that they did not: sending them again could double them.
				verdict = destination.MakeVerdictRejected(caught(reason))
			}
		}()
		headers := map[string]string{}
		for _, header := range raw.Headers {
			headers[strings.ToLower(header.F0)] = header.F1
		}
		return classify(tag, events, Response{raw.Status, headers, raw.Body, raw.Attempt})
	}
}
