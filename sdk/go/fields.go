package tidegate

// Path is a JSON pointer; make it once, as a variable of the package.
type Path struct {
	pointer string
	// What the host knows it by, made at its first use.
	handle any
}

// NewPath is the path for a pointer such as "/properties/email".
func NewPath(pointer string) *Path { return &Path{pointer, nil} }

// Fields is one event of a plugin of the kind fields, where the host has it: only in a build, not in native tests.
type Fields struct{ index uint32 }

// fieldHost reads and writes the events that the host has.
type fieldHost interface {
	getString(at *Path, event uint32) (string, bool)
	getNumber(at *Path, event uint32) (float64, bool)
	getJSON(at *Path, event uint32) (string, bool)
	has(at *Path, event uint32) bool
	setString(at *Path, event uint32, value string) error
	setJSON(at *Path, event uint32, value string) error
	move(from, to *Path, event uint32) (bool, error)
	remove(at *Path, event uint32)
	drop(event uint32, reason string)
	fail(event uint32, code, message string)
}

var (
	fields fieldHost
	edit   func(event Fields, context *Context)
)

// Edit makes `work` the function of this plugin; call it in init.
func Edit(work func(event Fields, context *Context)) { edit = work }

// GetString is the text there, if there is one.
func (f Fields) GetString(at *Path) (string, bool) { return fields.getString(at, f.index) }

// GetNumber is the number there, if there is one.
func (f Fields) GetNumber(at *Path) (float64, bool) { return fields.getNumber(at, f.index) }

// GetJson is whatever is there, as JSON text.
func (f Fields) GetJson(at *Path) (string, bool) { return fields.getJSON(at, f.index) }

// Has says whether anything is there.
func (f Fields) Has(at *Path) bool { return fields.has(at, f.index) }

// SetString writes a text; what stands in the way fails the event.
func (f Fields) SetString(at *Path, value string) {
	f.must("not-set", fields.setString(at, f.index, value))
}

// SetJson writes a value given as JSON text.
func (f Fields) SetJson(at *Path, value string) {
	f.must("not-set", fields.setJSON(at, f.index, value))
}

// Move moves whatever is at one place to another, without a copy, and says whether anything was there; what stands in
// the way fails the event.
func (f Fields) Move(at, to *Path) bool {
	moved, err := fields.move(at, to, f.index)
	f.must("not-moved", err)
	return moved
}

// Remove takes away what is there.
func (f Fields) Remove(at *Path) { fields.remove(at, f.index) }

// Drop filters the event on purpose.
func (f Fields) Drop(reason string) { fields.drop(f.index, reason) }

// Fail puts this one event into quarantine.
func (f Fields) Fail(code, message string) { fields.fail(f.index, code, message) }

func (f Fields) must(code string, err error) {
	if err != nil {
		f.Fail(code, err.Error())
	}
}
