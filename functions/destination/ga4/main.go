// A destination plugin: the connection to Tidegate. What is particular to the tool is in the package measure.
package main

import (
	"ga4/measure"
	"tidegate"
)

// Set once by Configure: an instance lives for one batch.
var settings measure.Settings

func init() {
	tidegate.Configure = func(given map[string]any) (err error) {
		settings, err = measure.Parse(given)
		return err
	}
	tidegate.Deliver(prepare, measure.Classify)
}

func main() {}

func prepare(events []tidegate.Event, context *tidegate.Context) *tidegate.Plan {
	return measure.Prepare(events, settings, context.NowMs)
}
