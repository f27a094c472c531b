// Package tidegate is what a plugin in Go uses of Tidegate. Everything in it works natively too, so that `go test` runs a
// plugin's logic without WebAssembly; the files of `guest` connect it to the host.
package tidegate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// Context is the same for all events of a batch, and the same on replay.
type Context struct {
	// Settings are those of the manifest; a secret is a placeholder.
	Settings map[string]any
	// NowMs is the time in Unix milliseconds.
	NowMs uint64
	Seed  uint64
}

// Setting is the text of a setting, or nothing.
func (c *Context) Setting(name string) string { return Text(c.Settings, name) }

// Configure, when it is set, looks at the settings before any event comes; an error refuses them.
var Configure func(settings map[string]any) error

// ParseSettings reads settings into a structure with json tags.
func ParseSettings(settings map[string]any, into any) error {
	text, err := Encode(settings)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

var (
	transform func(event Event, context *Context) Outcome
	prepare   func(events []Event, context *Context) *Plan
	classify  func(tag string, events []uint32, response Response) Verdict
)

// Transform makes `work` the function of this plugin; call it in init.
func Transform(work func(event Event, context *Context) Outcome) { transform = work }

// Deliver makes these the functions of this plugin; call it in init.
func Deliver(toPlan func(events []Event, context *Context) *Plan, toVerdict func(tag string, events []uint32, response Response) Verdict) {
	prepare, classify = toPlan, toVerdict
}

// Outcome is what becomes of an event.
type Outcome struct {
	kind          outcomeKind
	texts         []string
	code, message string
}

type outcomeKind int

const (
	keep outcomeKind = iota
	replace
	emit
	drop
	fail
)

// Keep leaves the event as it is.
func Keep() Outcome { return Outcome{} }

// Drop filters the event on purpose.
func Drop(reason string) Outcome { return Outcome{kind: drop, code: reason} }

// Fail puts this one event into quarantine.
func Fail(code, message string) Outcome { return Outcome{kind: fail, code: code, message: message} }

// Replace puts another event in its place.
func Replace(event Event) Outcome {
	made := Emit(event)
	if made.kind == emit {
		made.kind = replace
	}
	return made
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
	return Outcome{kind: emit, texts: texts}
}

// Levels of the log, as the host counts them.
const (
	levelInfo uint8 = iota + 1
	levelWarn
	levelError
)

// host is the program around the plugin; natively a stand-in for tests.
var host = struct {
	log    func(level uint8, message string)
	count  func(name string, delta uint32)
	nowMs  func() uint64
	seed   func() uint64
	sign   func(secret string, data []byte) ([]byte, error)
	lookup func(table, key string) (text string, found bool, err error)
}{
	log:   func(_ uint8, message string) { fmt.Fprintln(os.Stderr, message) },
	count: func(string, uint32) {},
	nowMs: func() uint64 { return 0 },
	seed:  func() uint64 { return 0 },
	sign:  func(string, []byte) ([]byte, error) { return nil, errors.New("only the host can sign") },
	lookup: func(table, key string) (string, bool, error) {
		entries, granted := TestTables[table]
		if !granted {
			return "", false, fmt.Errorf("no table %q is granted to this plugin", table)
		}
		text, found := entries[key]
		return text, found, nil
	},
}

// TestTables are what Lookup finds in native tests: for each table the JSON text of its entries.
var TestTables = map[string]map[string]string{}

// Log writes a line to the log of the plugin.
func Log(format string, parts ...any) { host.log(levelInfo, fmt.Sprintf(format, parts...)) }

// The warnings of this batch: an instance lives for one.
var warned = map[string]bool{}

// WarnOnce writes a warning to the log, once in a batch however many events it is about. It says what happened to which name, and
// holds no value of an event: a log is no place for personal data.
func WarnOnce(format string, parts ...any) {
	if line := fmt.Sprintf(format, parts...); !warned[line] {
		warned[line] = true
		host.log(levelWarn, line)
	}
}

// Count adds to a counter of the plugin.
func Count(name string, delta uint32) { host.count(name, delta) }

// Lookup is the entry for key in a table that the workspace grants to the plugin; nil when the table has none. A table that
// is not granted, and an empty key, are an error.
func Lookup(table, key string) (entry any, err error) {
	if key == "" {
		return nil, fmt.Errorf("Lookup of %q: `key` is empty", table)
	}
	text, found, err := host.lookup(table, key)
	if err == nil && found {
		err = Decode([]byte(text), &entry)
	}
	return entry, err
}

// Sign is the HMAC-SHA-256 of data under the secret called `secret`; the plugin never sees the secret.
func Sign(secret string, data []byte) ([]byte, error) { return host.sign(secret, data) }

// Decode reads JSON; numbers become json.Number, so that no digit is lost.
func Decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// Encode is a value as JSON, without the escapes that HTML wants. NaN and infinite numbers are an error.
func Encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// panicMessage is a panic with the line of the plugin that it came from; its stack goes into the log.
func panicMessage(reason any) string {
	where := ""
	for _, line := range strings.Split(string(debug.Stack()), "\n") {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, ".go:") || strings.HasPrefix(line, "tidegate@") || strings.HasPrefix(line, "runtime/") {
			continue
		}
		line, _, _ = strings.Cut(line, " +")
		host.log(levelError, fmt.Sprintf("    at %s", line))
		if where == "" {
			where = " (" + line + ")"
		}
	}
	message := fmt.Sprintf("%v%s", reason, where)
	host.log(levelError, "panic: "+message)
	return message
}
