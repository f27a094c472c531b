// Package export_tidegate_plugin_destination is what the bindings call for every batch and every answer.
package export_tidegate_plugin_destination

import (
	"meta-capi/batch"
	"meta-capi/conversions"
	"meta-capi/tidegate/bindings/export_tidegate_plugin_lifecycle"
	wit "meta-capi/tidegate/bindings/tidegate_plugin_destination"
	"meta-capi/tidegate/bindings/tidegate_plugin_host"
	"meta-capi/tidegate/bindings/tidegate_plugin_types"

	types "go.bytecodealliance.org/pkg/wit/types"
)

// Prepare plans the requests of a batch.
func Prepare(events []string) types.Result[wit.Plan, wit.BatchError] {
	plan := conversions.Prepare(events, export_tidegate_plugin_lifecycle.Settings, tidegate_plugin_host.NowMs())
	var out wit.Plan
	for _, request := range plan.Requests {
		headers := make([]types.Tuple2[string, string], 0, len(request.Headers))
		for _, header := range request.Headers {
			headers = append(headers, types.Tuple2[string, string]{F0: header[0], F1: header[1]})
		}
		out.Requests = append(out.Requests, wit.Request{
			Method: wit.MethodPost, Url: request.URL, Headers: headers, Body: request.Body, Events: request.Events,
		})
	}
	for _, skipped := range plan.Skipped {
		out.Skipped = append(out.Skipped, wit.Skipped{Event: skipped.Event, Reason: skipped.Reason})
	}
	for _, failed := range plan.Failed {
		complaint := complaint(tidegate_plugin_types.ErrorKindInvalidEvent, failed.Failure)
		out.Failed = append(out.Failed, wit.Failed{Event: failed.Event, Error: complaint})
	}
	return types.Ok[wit.Plan, wit.BatchError](out)
}

// Classify reads an answer.
func Classify(_ string, _ []uint32, response wit.Response) wit.Verdict {
	headers := make([][2]string, 0, len(response.Headers))
	for _, header := range response.Headers {
		headers = append(headers, [2]string{header.F0, header.F1})
	}
	switch verdict := conversions.Classify(response.Status, headers, response.Body); verdict.Kind {
	case batch.Delivered:
		return wit.MakeVerdictDelivered()
	case batch.Retry:
		if verdict.AfterMS == 0 {
			return wit.MakeVerdictRetry(types.None[uint32]())
		}
		return wit.MakeVerdictRetry(types.Some(verdict.AfterMS))
	case batch.Disable:
		return wit.MakeVerdictDisable(complaint(tidegate_plugin_types.ErrorKindInvalidConfig, verdict.Failure))
	default:
		return wit.MakeVerdictRejected(complaint(tidegate_plugin_types.ErrorKindInvalidEvent, verdict.Failure))
	}
}

func complaint(kind tidegate_plugin_types.ErrorKind, failure batch.Failure) wit.PluginError {
	return wit.PluginError{Kind: kind, Code: failure.Code, Message: failure.Message}
}
