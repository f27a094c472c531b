//go:build wasip1

// Package export_tidegate_plugin_lifecycle is what the bindings call.
package export_tidegate_plugin_lifecycle

import (
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

// Hook is set by the package tidegate.
var Hook func(setup types.Setup) witTypes.Result[witTypes.Unit, types.PluginError]

// Configure is called once on every new instance.
func Configure(setup types.Setup) witTypes.Result[witTypes.Unit, types.PluginError] {
	return Hook(setup)
}
