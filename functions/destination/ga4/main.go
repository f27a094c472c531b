// A destination plugin: the connection to Tidegate. What is particular to the tool is in the package measure.
package main

import (
	"ga4/batch"
	"ga4/measure"
	"ga4/tidegate"
)

// Set once by Configure: an instance lives for one batch.
var settings measure.Settings

func init() {
	tidegate.Configure = func(given map[string]any) (err error) {
		settings, err = measure.Parse(batch.JSON(given))
		return err
	}
	tidegate.Deliver(prepare, classify)
}

func main() {}

func prepare(events []tidegate.Event, context *tidegate.Context) *tidegate.Plan {
	made := measure.Prepare(events, settings, context.NowMs)
	plan := &tidegate.Plan{}
	for _, request := range made.Requests {
		plan.Send(tidegate.Request{
			URL:     request.URL,
			Headers: map[string]string{"content-type": "application/json"},
			Body:    request.Body,
			Events:  request.Events,
		})
	}
	for _, skipped := range made.Skipped {
		plan.Skip(skipped.Event, skipped.Reason)
	}
	for _, failed := range made.Failed {
		plan.Fail(failed.Event, failed.Code, failed.Message)
	}
	return plan
}

func classify(_ string, _ []uint32, response tidegate.Response) tidegate.Verdict {
	verdict := measure.Classify(response.Status, response.Headers["retry-after"], response.Body)
	switch verdict.Kind {
	case batch.Delivered:
		return tidegate.Delivered()
	case batch.Retry:
		return tidegate.Retry(verdict.AfterMS)
	case batch.Disable:
		return tidegate.Disable(verdict.Failure.Code, verdict.Failure.Message)
	default:
		return tidegate.Rejected(verdict.Failure.Code, verdict.Failure.Message)
	}
}
