//go:build wasip1

package tidegate

import (
	"tidegate/bindings/export_tidegate_plugin_field_transformer"
	fields "tidegate/bindings/tidegate_plugin_fields"
	types "tidegate/bindings/tidegate_plugin_types"
	witTypes "tidegate/bindings/wit/types"
)

// Path is a JSON pointer; make it once, as a variable of the package.
type Path struct {
	pointer string
	handle  *fields.Path
}

// NewPath is the path for a pointer such as "/properties/email".
func NewPath(pointer string) *Path { return &Path{pointer, nil} }

func (p *Path) at() *fields.Path {
	if p.handle == nil {
		p.handle = fields.MakePath(p.pointer)
	}
	return p.handle
}

// Fields is one event, where the host has it.
type Fields struct{ index uint32 }

// GetString is the text there, if there is one.
func (f Fields) GetString(at *Path) (string, bool) {
	found := at.at().GetString(f.index)
	return found.SomeOr(""), found.IsSome()
}

// GetNumber is the number there, if there is one.
func (f Fields) GetNumber(at *Path) (float64, bool) {
	found := at.at().GetNumber(f.index)
	return found.SomeOr(0), found.IsSome()
}

// GetJson is whatever is there, as JSON text.
func (f Fields) GetJson(at *Path) (string, bool) {
	found := at.at().GetJson(f.index)
	return found.SomeOr(""), found.IsSome()
}

// Has says whether anything is there.
func (f Fields) Has(at *Path) bool { return at.at().Has(f.index) }

// SetString writes a text; what stands in the way fails the event.
func (f Fields) SetString(at *Path, value string) {
	if done := at.at().SetString(f.index, value); done.IsErr() {
		f.Fail("not-set", done.Err())
	}
}

// SetJson writes a value given as JSON text.
func (f Fields) SetJson(at *Path, value string) {
	if done := at.at().SetJson(f.index, value); done.IsErr() {
		f.Fail("not-set", done.Err())
	}
}

// Move moves whatever is at one place to another, without a copy, and says whether anything was there; what stands in
// the way fails the event.
func (f Fields) Move(at, to *Path) bool {
	moved := at.at().MoveTo(f.index, to.at())
	if moved.IsErr() {
		f.Fail("not-moved", moved.Err())
		return false
	}
	return moved.Ok()
}

// Remove takes away what is there.
func (f Fields) Remove(at *Path) { at.at().Remove(f.index) }

// Drop filters the event on purpose.
func (f Fields) Drop(reason string) { fields.DropEvent(f.index, reason) }

// Fail puts this one event into quarantine.
func (f Fields) Fail(code, message string) { fields.FailEvent(f.index, code, message) }

// Edit makes `work` the function of this plugin; call it in init.
func Edit(work func(event Fields, context *Context)) {
	export_tidegate_plugin_field_transformer.Hook = func(events uint32) witTypes.Result[witTypes.Unit, types.BatchError] {
		context := batchContext()
		for index := uint32(0); index < events; index++ {
			one(Fields{index}, context, work)
		}
		return witTypes.Ok[witTypes.Unit, types.BatchError](witTypes.Unit{})
	}
}

func one(event Fields, context *Context, work func(event Fields, context *Context)) {
	defer func() {
		if reason := recover(); reason != nil {
			said := caught(reason)
			event.Fail(said.Code, said.Message)
		}
	}()
	work(event, context)
}
