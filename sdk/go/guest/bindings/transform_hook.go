//go:build wasip1

// Package export_tidegate_plugin_transformer is what the bindings call.
package export_tidegate_plugin_transformer

import (
	transformer "tidegate/bindings/tidegate_plugin_transformer"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

// Hook is set by the package tidegate.
var Hook func(batch []string) witTypes.Result[[]transformer.Outcome, types.BatchError]

// Transform is called with each batch.
func Transform(batch []string) witTypes.Result[[]transformer.Outcome, types.BatchError] {
	return Hook(batch)
}
