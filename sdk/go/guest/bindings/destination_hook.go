//go:build wasip1

// Package export_tidegate_plugin_destination is what the bindings call.
package export_tidegate_plugin_destination

import (
	destination "tidegate/bindings/tidegate_plugin_destination"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

// PrepareHook and ClassifyHook are set by the package tidegate.
var (
	PrepareHook  func(batch []string) witTypes.Result[destination.Plan, types.BatchError]
	ClassifyHook func(tag string, events []uint32, response destination.Response) destination.Verdict
)

// Prepare is called with each batch.
func Prepare(batch []string) witTypes.Result[destination.Plan, types.BatchError] {
	return PrepareHook(batch)
}

// Classify is called with each response.
func Classify(tag string, events []uint32, response destination.Response) destination.Verdict {
	return ClassifyHook(tag, events, response)
}
