// Package tidegate is what a plugin in Go uses of Tidegate. This folder is generated: `build` writes it anew.
package tidegate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"

	"{{module}}/tidegate/bindings/export_tidegate_plugin_lifecycle"
	host "{{module}}/tidegate/bindings/tidegate_plugin_host"
	types "{{module}}/tidegate/bindings/tidegate_plugin_types"
	witTypes "{{module}}/tidegate/bindings/wit/types"
	_ "{{module}}/tidegate/bindings/wit_exports"
)

// Event is a customer event; numbers are json.Number, so that no digit is lost.
type Event = map[string]any

// Context is the same for all events of a batch, and the same on replay.
type Context struct {
	// Settings are those of the manifest; a secret is a placeholder.
	Settings map[string]any
	// NowMs is the time in Unix milliseconds.
	NowMs uint64
	Seed  uint64
}

// Setting is the text of a setting, or nothing.
func (c *Context) Setting(name string) string {
	text, _ := c.Settings[name].(string)
	return text
}

// Text is the text at a path of members, or nothing.
func Text(event Event, path ...string) string {
	var at any = event
	for _, name := range path {
		members, _ := at.(map[string]any)
		at = members[name]
	}
	text, _ := at.(string)
	return text
}

// Log writes a line to the log of the plugin.
func Log(format string, parts ...any) { host.Log(host.LevelInfo, fmt.Sprintf(format, parts...)) }

// Count adds to a counter of the plugin.
func Count(name string, delta uint32) { host.Count(name, delta) }

var settings map[string]any

// Configure, when it is set, looks at the settings before any event comes; an error refuses them.
var Configure func(settings map[string]any) error

func init() {
	export_tidegate_plugin_lifecycle.Hook = func(setup types.Setup) witTypes.Result[witTypes.Unit, types.PluginError] {
		refuse := func(err error) witTypes.Result[witTypes.Unit, types.PluginError] {
			return witTypes.Err[witTypes.Unit, types.PluginError](
				types.PluginError{Kind: types.ErrorKindInvalidConfig, Code: "settings", Message: err.Error()})
		}
		if err := decode(setup.SettingsJson, &settings); err != nil {
			return refuse(err)
		}
		if Configure != nil {
			if err := Configure(settings); err != nil {
				return refuse(err)
			}
		}
		return witTypes.Ok[witTypes.Unit, types.PluginError](witTypes.Unit{})
	}
}

func context() *Context { return &Context{settings, host.NowMs(), host.Seed()} }

func decode(text string, into any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// Encode is a value as JSON, without the escapes that HTML wants.
func Encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// caught turns a panic into an error with the line that it came from, and its stack into log lines.
func caught(reason any) types.PluginError {
	where := ""
	for _, line := range strings.Split(string(debug.Stack()), "\n") {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, ".go:") || strings.Contains(line, "/tidegate/") || strings.HasPrefix(line, "runtime/") {
			continue
		}
		line, _, _ = strings.Cut(line, " +")
		host.Log(host.LevelError, fmt.Sprintf("    at %s", line))
		if where == "" {
			where = " (" + line + ")"
		}
	}
	message := fmt.Sprintf("%v%s", reason, where)
	host.Log(host.LevelError, "panic: "+message)
	return types.PluginError{Kind: types.ErrorKindInternal, Code: "go-panic", Message: message}
}
