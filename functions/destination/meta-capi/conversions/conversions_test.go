package conversions

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"meta-capi/batch"
)

const now = 1_767_225_600_000

// parsed is events as Tidegate hands them over.
func parsed(t *testing.T, texts ...string) (events []batch.Fields) {
	t.Helper()
	for _, text := range texts {
		var event batch.Fields
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&event); err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

func one(t *testing.T, event string) batch.Fields {
	t.Helper()
	plan := Prepare(parsed(t, event), Settings{PixelID: "1", APIVersion: "v23.0"}, now)
	if len(plan.Requests) != 1 {
		t.Fatalf("%+v", plan)
	}
	var body struct{ Data []batch.Fields }
	if err := json.Unmarshal(plan.Requests[0].Body, &body); err != nil {
		t.Fatal(err)
	}
	return body.Data[0]
}

// Hashes are those of Meta's own documentation.
func TestPersonalDataIsSpelledAsMetaWantsIt(t *testing.T) {
	user := batch.Object(one(t, `{"type":"track","event":"Tab Opened","timestamp":"2025-12-31T12:00:00Z","context":{"traits":{
		"email":" John_Smith@gmail.com ","phone":"+1 (650)555-1212","firstName":"Mary"}}}`), "user_data")
	for name, hash := range map[string]string{
		"em": "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
		"ph": "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",
		"fn": "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec",
	} {
		if got := fmt.Sprint(user[name]); got != "["+hash+"]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestAnEventThatMetaWouldRefuseCostsNobodyElse(t *testing.T) {
	at := `"timestamp":"2025-12-31T12:00:00Z"`
	events := []string{
		`{"type":"track","event":"A","userId":"u","timestamp":"2025-12-01T00:00:00Z"}`, `{"type":"track","event":"A",` + at + `}`,
		`{"type":"track","userId":"u",` + at + `}`, `{"type":"track","event":"A","userId":"u",` + at + `}`,
	}
	plan := Prepare(parsed(t, events...), Settings{PixelID: "1"}, now)
	var codes []string
	for _, failed := range plan.Failed {
		codes = append(codes, failed.Code)
	}
	if got := fmt.Sprint(codes, plan.Requests[0].Events); got != "[too-old no-user no-event-name] [3]" {
		t.Fatal(got)
	}
}
