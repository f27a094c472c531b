// Package export_tidegate_plugin_lifecycle is what the bindings call before any batch.
package export_tidegate_plugin_lifecycle

import (
	"meta-capi/conversions"
	"meta-capi/tidegate/bindings/tidegate_plugin_types"

	types "go.bytecodealliance.org/pkg/wit/types"
)

// Settings are kept from here on: an instance lives for one batch.
var Settings conversions.Settings

// Configure is called once on every new instance.
func Configure(setup tidegate_plugin_types.Setup) types.Result[types.Unit, tidegate_plugin_types.PluginError] {
	settings, err := conversions.Parse(setup.SettingsJson)
	if err != nil {
		return types.Err[types.Unit](tidegate_plugin_types.PluginError{
			Kind: tidegate_plugin_types.ErrorKindInvalidConfig, Code: "invalid-settings", Message: err.Error(),
		})
	}
	Settings = settings
	return types.Ok[types.Unit, tidegate_plugin_types.PluginError](types.Unit{})
}
