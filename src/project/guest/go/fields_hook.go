// Package export_tidegate_plugin_field_transformer is what the bindings call.
package export_tidegate_plugin_field_transformer

import (
	fields "{{module}}/tidegate/bindings/tidegate_plugin_fields"
	types "{{module}}/tidegate/bindings/tidegate_plugin_types"
	witTypes "{{module}}/tidegate/bindings/wit/types"
)

// Hook is set by the package tidegate.
var Hook func(batch *fields.Batch) witTypes.Result[witTypes.Unit, types.BatchError]

// Transform is called with each batch.
func Transform(batch *fields.Batch) witTypes.Result[witTypes.Unit, types.BatchError] { return Hook(batch) }
