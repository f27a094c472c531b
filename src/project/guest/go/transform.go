package tidegate

import (
	"{{module}}/tidegate/bindings/export_tidegate_plugin_transformer"
	transformer "{{module}}/tidegate/bindings/tidegate_plugin_transformer"
	types "{{module}}/tidegate/bindings/tidegate_plugin_types"
	witTypes "{{module}}/tidegate/bindings/wit/types"
)

// Outcome is what becomes of an event.
type Outcome = transformer.Outcome

// Keep leaves the event as it is.
func Keep() Outcome { return transformer.MakeOutcomeKeep() }

// Drop filters the event on purpose.
func Drop(reason string) Outcome { return transformer.MakeOutcomeDrop(reason) }

// Fail puts this one event into quarantine.
func Fail(code, message string) Outcome {
	return transformer.MakeOutcomeFail(types.PluginError{Kind: types.ErrorKindInvalidEvent, Code: code, Message: message})
}

// Replace puts another event in its place.
func Replace(event Event) Outcome {
	text, err := Encode(event)
	if err != nil {
		return Fail("not-json", err.Error())
	}
	return transformer.MakeOutcomeReplace(string(text))
}

// Emit puts none to many events in its place.
func Emit(events ...Event) Outcome {
	texts := make([]string, len(events))
	for i, event := range events {
		text, err := Encode(event)
		if err != nil {
			return Fail("not-json", err.Error())
		}
		texts[i] = string(text)
	}
	return transformer.MakeOutcomeEmit(texts)
}

// Transform makes `work` the function of this plugin; call it in init.
func Transform(work func(event Event, context *Context) Outcome) {
	export_tidegate_plugin_transformer.Hook = func(batch []string) witTypes.Result[[]Outcome, types.BatchError] {
		context := context()
		outcomes := make([]Outcome, len(batch))
		for i, text := range batch {
			outcomes[i] = one(text, context, work)
		}
		return witTypes.Ok[[]Outcome, types.BatchError](outcomes)
	}
}

func one(text string, context *Context, work func(event Event, context *Context) Outcome) (outcome Outcome) {
	defer func() {
		if reason := recover(); reason != nil {
			outcome = transformer.MakeOutcomeFail(caught(reason))
		}
	}()
	var event Event
	if err := decode(text, &event); err != nil {
		return Fail("not-json", err.Error())
	}
	return work(event, context)
}
