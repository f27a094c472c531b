//go:build wasip1

package tidegate

import (
	"tidegate/bindings/export_tidegate_plugin_transformer"
	transformer "tidegate/bindings/tidegate_plugin_transformer"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

func init() {
	export_tidegate_plugin_transformer.Hook = func(batch []string) witTypes.Result[[]transformer.Outcome, types.BatchError] {
		context := batchContext()
		outcomes := make([]transformer.Outcome, len(batch))
		for i, text := range batch {
			outcomes[i] = transformed(text, context)
		}
		return witTypes.Ok[[]transformer.Outcome, types.BatchError](outcomes)
	}
}

func transformed(text string, context *Context) (outcome transformer.Outcome) {
	defer func() {
		if reason := recover(); reason != nil {
			outcome = transformer.MakeOutcomeFail(caught(reason))
		}
	}()
	var event Event
	if err := Decode([]byte(text), &event); err != nil {
		return transformer.MakeOutcomeFail(pluginError("not-json", err.Error()))
	}
	switch made := transform(event, context); made.kind {
	case replace:
		return transformer.MakeOutcomeReplace(made.texts[0])
	case emit:
		return transformer.MakeOutcomeEmit(made.texts)
	case drop:
		return transformer.MakeOutcomeDrop(made.code)
	case fail:
		return transformer.MakeOutcomeFail(pluginError(made.code, made.message))
	default:
		return transformer.MakeOutcomeKeep()
	}
}
