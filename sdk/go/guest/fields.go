//go:build wasip1

package tidegate

import (
	"errors"

	"tidegate/bindings/export_tidegate_plugin_field_transformer"
	hostFields "tidegate/bindings/tidegate_plugin_fields"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

func init() {
	fields = inHost{}
	export_tidegate_plugin_field_transformer.Hook = func(events uint32) witTypes.Result[witTypes.Unit, types.BatchError] {
		context := batchContext()
		for index := uint32(0); index < events; index++ {
			edited(Fields{index}, context)
		}
		return witTypes.Ok[witTypes.Unit, types.BatchError](witTypes.Unit{})
	}
}

func edited(event Fields, context *Context) {
	defer func() {
		if reason := recover(); reason != nil {
			said := caught(reason)
			event.Fail(said.Code, said.Message)
		}
	}()
	edit(event, context)
}

type inHost struct{}

func handle(at *Path) *hostFields.Path {
	if at.handle == nil {
		at.handle = hostFields.MakePath(at.pointer)
	}
	return at.handle.(*hostFields.Path)
}

func (inHost) getString(at *Path, event uint32) (string, bool) {
	found := handle(at).GetString(event)
	return found.SomeOr(""), found.IsSome()
}

func (inHost) getNumber(at *Path, event uint32) (float64, bool) {
	found := handle(at).GetNumber(event)
	return found.SomeOr(0), found.IsSome()
}

func (inHost) getJSON(at *Path, event uint32) (string, bool) {
	found := handle(at).GetJson(event)
	return found.SomeOr(""), found.IsSome()
}

func (inHost) has(at *Path, event uint32) bool { return handle(at).Has(event) }

func (inHost) setString(at *Path, event uint32, value string) error {
	done := handle(at).SetString(event, value)
	if done.IsErr() {
		return errors.New(done.Err())
	}
	return nil
}

func (inHost) setJSON(at *Path, event uint32, value string) error {
	done := handle(at).SetJson(event, value)
	if done.IsErr() {
		return errors.New(done.Err())
	}
	return nil
}

func (inHost) move(from, to *Path, event uint32) (bool, error) {
	moved := handle(from).MoveTo(event, handle(to))
	if moved.IsErr() {
		return false, errors.New(moved.Err())
	}
	return moved.Ok(), nil
}

func (inHost) remove(at *Path, event uint32) { handle(at).Remove(event) }

func (inHost) drop(event uint32, reason string) { hostFields.DropEvent(event, reason) }

func (inHost) fail(event uint32, code, message string) { hostFields.FailEvent(event, code, message) }
