// Package export_tidegate_plugin_transformer is what the bindings call.
package export_tidegate_plugin_transformer

import (
	transformer "{{module}}/tidegate/bindings/tidegate_plugin_transformer"
	types "{{module}}/tidegate/bindings/tidegate_plugin_types"
	witTypes "{{module}}/tidegate/bindings/wit/types"
)

// Hook is set by the package tidegate.
var Hook func(batch []string) witTypes.Result[[]transformer.Outcome, types.BatchError]

// Transform is called with each batch.
func Transform(batch []string) witTypes.Result[[]transformer.Outcome, types.BatchError] { return Hook(batch) }
