//go:build wasip1

package tidegate

import (
	"errors"
	"strings"

	"tidegate/bindings/export_tidegate_plugin_destination"
	destination "tidegate/bindings/tidegate_plugin_destination"
	secrets "tidegate/bindings/tidegate_plugin_secrets"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

func init() {
	host.sign = func(secret string, data []byte) ([]byte, error) {
		signed := secrets.Sign(secrets.MacHmacSha256, secrets.MakeMacKeyNamed(secret), data)
		if signed.IsErr() {
			return nil, errors.New(signed.Err())
		}
		return signed.Ok(), nil
	}
	export_tidegate_plugin_destination.PrepareHook = func(batch []string) (made witTypes.Result[destination.Plan, types.BatchError]) {
		defer func() {
			if reason := recover(); reason != nil {
				made = witTypes.Err[destination.Plan, types.BatchError](types.MakeBatchErrorFatal(caught(reason)))
			}
		}()
		events := make([]Event, len(batch))
		for i, text := range batch {
			if err := Decode([]byte(text), &events[i]); err != nil {
				panic(err)
			}
		}
		return witTypes.Ok[destination.Plan, types.BatchError](witPlan(prepare(events, batchContext())))
	}
	export_tidegate_plugin_destination.ClassifyHook = func(tag string, events []uint32, raw destination.Response) (verdict destination.Verdict) {
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
		return witVerdict(classify(tag, events, Response{raw.Status, headers, raw.Body, raw.Attempt, host.nowMs()}))
	}
}

var methods = map[string]uint8{"": destination.MethodPost, "GET": destination.MethodGet, "POST": destination.MethodPost,
	"PUT": destination.MethodPut, "PATCH": destination.MethodPatch, "DELETE": destination.MethodDelete}

func witPlan(plan *Plan) (made destination.Plan) {
	for _, request := range plan.Requests {
		method, known := methods[request.Method]
		if !known {
			panic("there is no method " + request.Method)
		}
		headers := make([]witTypes.Tuple2[string, string], 0, len(request.Headers))
		for name, value := range request.Headers {
			headers = append(headers, witTypes.Tuple2[string, string]{F0: name, F1: value})
		}
		made.Requests = append(made.Requests, destination.Request{Method: method, Url: request.URL, Headers: headers,
			Body: request.Body, Events: request.Events, Tag: request.Tag})
	}
	for _, skipped := range plan.Skipped {
		made.Skipped = append(made.Skipped, destination.Skipped{Event: skipped.Event, Reason: skipped.Reason})
	}
	for _, failed := range plan.Failed {
		made.Failed = append(made.Failed, destination.Failed{Event: failed.Event, Error: pluginError(failed.Code, failed.Message)})
	}
	return made
}

func witVerdict(verdict Verdict) destination.Verdict {
	switch verdict.Kind {
	case KindDelivered:
		return destination.MakeVerdictDelivered()
	case KindRetry:
		if verdict.AfterMs == 0 {
			return destination.MakeVerdictRetry(witTypes.None[uint32]())
		}
		return destination.MakeVerdictRetry(witTypes.Some(verdict.AfterMs))
	case KindReauthenticate:
		return destination.MakeVerdictReauthenticate()
	case KindRejected:
		return destination.MakeVerdictRejected(pluginError(verdict.Code, verdict.Message))
	case KindPartial:
		list := make([]witTypes.Tuple2[uint32, bool], 0, len(verdict.Events))
		for event, retry := range verdict.Events {
			list = append(list, witTypes.Tuple2[uint32, bool]{F0: event, F1: retry})
		}
		return destination.MakeVerdictPartial(list)
	case KindBisect:
		return destination.MakeVerdictBisect(pluginError(verdict.Code, verdict.Message))
	case KindDisable:
		return destination.MakeVerdictDisable(pluginError(verdict.Code, verdict.Message))
	default:
		panic("classify answered no verdict")
	}
}
