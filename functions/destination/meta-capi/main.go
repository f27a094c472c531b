// A destination plugin: the connection to Tidegate. What is particular to the tool is in the package conversions.
package main

import (
	"meta-capi/conversions"
	"tidegate"
)

// Set once by Configure: an instance lives for one batch.
var settings conversions.Settings

func init() {
	tidegate.Configure = func(given map[string]any) (err error) {
		settings, err = conversions.Parse(given)
		return err
	}
	tidegate.Deliver(prepare, conversions.Classify)
}

func main() {}

func prepare(events []tidegate.Event, context *tidegate.Context) *tidegate.Plan {
	return conversions.Prepare(events, settings, context.NowMs)
}
