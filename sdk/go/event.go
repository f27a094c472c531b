package tidegate

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Event is a customer event; numbers are json.Number, so that no digit is lost. Clients send what they like: the readers
// below answer "" or nil for anything odd.
type Event = map[string]any

// AsObject is an object as it is, and nil for anything else, such as the `[]` that PHP writes for an empty object.
// Reading a nil object is fine.
func AsObject(value any) map[string]any {
	object, _ := value.(map[string]any)
	return object
}

// Object is the object at a path of members, nil when there is none.
func Object(from map[string]any, path ...string) map[string]any {
	for _, name := range path {
		from = AsObject(from[name])
	}
	return from
}

// Text is the text at a path of members; "" when there is none.
func Text(event Event, path ...string) string {
	text, _ := at(event, path).(string)
	return text
}

func at(from map[string]any, path []string) any {
	last := len(path) - 1
	return Object(from, path[:last]...)[path[last]]
}

// ID is an id as text: text that is not blank as it is, a number by its digits, "" for anything else.
func ID(value any) string {
	switch value := value.(type) {
	case string:
		if strings.TrimSpace(value) != "" {
			return value
		}
	case json.Number:
		return plainDecimal(value.String())
	}
	return ""
}

// What code writes where it has nobody. Source: https://posthog.com/docs/data/identify, and Python's word for none.
var nobody = map[string]bool{
	"undefined": true, "null": true, "none": true, "nan": true, "[object object]": true, "0": true, "true": true,
	"false": true, "anonymous": true, "guest": true, "id": true, "distinctid": true, "distinct_id": true, "email": true,
	"not_authenticated": true,
}

// Somebody is an id as ID gives it, but "" for what code writes for nobody, such as "undefined", "[object Object]", 0 or
// "Guest", in any case and also in quotes: a tool would make one person of all who have such an id.
func Somebody(value any) string {
	id := ID(value)
	bare := strings.TrimFunc(id, func(letter rune) bool {
		return unicode.IsSpace(letter) || strings.ContainsRune("\"'\ufeff", letter)
	})
	if bare == "" || nobody[strings.ToLower(bare)] {
		return ""
	}
	return id
}

// FirstID is the first of the members called names that is an id, "" when none is.
func FirstID(from map[string]any, names ...string) string {
	for _, name := range names {
		if id := ID(from[name]); id != "" {
			return id
		}
	}
	return ""
}

// UserID is `userId` as text; "" when it is missing, blank or no id.
func UserID(event Event) string { return ID(event["userId"]) }

// AnonymousID is `anonymousId` as text; "" when it is missing, blank or no id.
func AnonymousID(event Event) string { return ID(event["anonymousId"]) }

// GroupID is `groupId` as text; "" when it is missing, blank or no id.
func GroupID(event Event) string { return ID(event["groupId"]) }

// PreviousID is `previousId` as text; "" when it is missing, blank or no id.
func PreviousID(event Event) string { return ID(event["previousId"]) }

// MessageID is `messageId` as text; "" when it is missing, blank or no id.
func MessageID(event Event) string { return ID(event["messageId"]) }

// User is by what a tool knows somebody: the user id, else the anonymous id, else "".
func User(event Event) string { return FirstID(event, "userId", "anonymousId") }

// Name is what happened: the `event` of a track, the `name` of a page or screen; "" for all else and for blank ones.
func Name(event Event) string {
	member := map[string]string{"track": "event", "page": "name", "screen": "name"}[Text(event, "type")]
	if name := Text(event, member); strings.TrimSpace(name) != "" {
		return name
	}
	return ""
}

// ContextValue is what stands in `context` at a path such as "page.url"; nil when nothing does, and for blank text.
func ContextValue(event Event, path string) any {
	value := at(Object(event, "context"), strings.Split(path, "."))
	if text, ok := value.(string); ok && strings.TrimSpace(text) == "" {
		return nil
	}
	return value
}

// ContextText is the text in `context` at a path such as "page.url"; a number by its digits, "" for anything else.
func ContextText(event Event, path string) string { return ID(ContextValue(event, path)) }

// Traits is `context.traits`, and over them the `traits` of the event itself. It may be changed.
func Traits(event Event) map[string]any {
	traits := map[string]any{}
	for _, from := range []map[string]any{Object(event, "context", "traits"), Object(event, "traits")} {
		for name, value := range from {
			traits[name] = value
		}
	}
	return traits
}

// Properties is `properties`; nil when they are no object.
func Properties(event Event) map[string]any { return Object(event, "properties") }

var rfc3339 = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)([Zz]|[+-]\d\d:\d\d)$`)

// Instant is the point in time that RFC 3339 text names, whatever its fraction and offset; false for anything else.
func Instant(value any) (time.Time, bool) {
	text, _ := value.(string)
	found := rfc3339.FindStringSubmatch(text)
	if found == nil {
		return time.Time{}, false
	}
	instant, err := time.Parse(time.RFC3339Nano, found[1]+"T"+found[2]+strings.ToUpper(found[3]))
	return instant.UTC(), err == nil
}

// Time is when the event happened, by its `timestamp`; false when that cannot be read.
func Time(event Event) (time.Time, bool) { return Instant(event["timestamp"]) }

// TimeText is an instant as RFC 3339 text in UTC with milliseconds.
func TimeText(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// More digits than this are no id and no amount: the text of a number could ask for a billion zeros.
const exponentMax = 400

// plainDecimal is the text of a JSON number without exponent and without a fraction of zeros.
func plainDecimal(text string) string {
	digits, exponentText, hasExponent := strings.Cut(strings.ToLower(text), "e")
	exponent := 0
	if hasExponent {
		var err error
		exponent, err = strconv.Atoi(exponentText)
		if err != nil || exponent > exponentMax || exponent < -exponentMax {
			return ""
		}
	}
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = whole + fraction
	point := len(whole) + exponent
	if point <= 0 {
		digits = strings.Repeat("0", 1-point) + digits
		point = 1
	}
	if point > len(digits) {
		digits += strings.Repeat("0", point-len(digits))
	}
	whole, fraction = strings.TrimLeft(digits[:point], "0"), strings.TrimRight(digits[point:], "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative && whole != "0" {
		whole = "-" + whole
	}
	return whole
}
