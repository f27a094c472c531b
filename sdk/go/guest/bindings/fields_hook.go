//go:build wasip1

// Package export_tidegate_plugin_field_transformer is what the bindings call.
package export_tidegate_plugin_field_transformer

import (
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

// Hook is set by the package tidegate.
var Hook func(events uint32) witTypes.Result[witTypes.Unit, types.BatchError]

// Transform is called with the number of events of each batch.
func Transform(events uint32) witTypes.Result[witTypes.Unit, types.BatchError] { return Hook(events) }
