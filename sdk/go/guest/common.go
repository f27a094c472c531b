//go:build wasip1

package tidegate

import (
	"errors"

	"tidegate/bindings/export_tidegate_plugin_lifecycle"
	hostCalls "tidegate/bindings/tidegate_plugin_host"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
	_ "tidegate/bindings/wit_exports"
)

var settings map[string]any

func init() {
	host.log, host.count, host.nowMs, host.seed = hostCalls.Log, hostCalls.Count, hostCalls.NowMs, hostCalls.Seed
	host.lookup = func(string, string) (string, bool, error) {
		return "", false, errors.New("there are no tables in this kind of plugin")
	}
	export_tidegate_plugin_lifecycle.Hook = func(setup types.Setup) witTypes.Result[witTypes.Unit, types.PluginError] {
		err := Decode([]byte(setup.SettingsJson), &settings)
		if err == nil && Configure != nil {
			err = Configure(settings)
		}
		if err != nil {
			return witTypes.Err[witTypes.Unit, types.PluginError](
				types.PluginError{Kind: types.ErrorKindInvalidConfig, Code: "settings", Message: err.Error()})
		}
		return witTypes.Ok[witTypes.Unit, types.PluginError](witTypes.Unit{})
	}
}

func batchContext() *Context { return &Context{settings, host.nowMs(), host.seed()} }

func pluginError(code, message string) types.PluginError {
	return types.PluginError{Kind: types.ErrorKindInvalidEvent, Code: code, Message: message}
}

func caught(reason any) types.PluginError {
	return types.PluginError{Kind: types.ErrorKindInternal, Code: "go-panic", Message: panicMessage(reason)}
}
