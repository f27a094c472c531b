package measure

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ga4/batch"
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

var settings = Settings{MeasurementID: "G-1", APISecret: "{{secret.api_secret}}"}

func track(more string) string {
	return `{"type":"track","event":"Tab Opened","timestamp":"2025-12-31T12:00:00Z",` + more + `}`
}

func TestEventsOfOneClientShareRequestsWithinTheLimits(t *testing.T) {
	var events []string
	for i := range 60 {
		events = append(events, track(fmt.Sprintf(`"anonymousId":"a-%d"`, i%2)))
	}
	plan := Prepare(parsed(t, events...), settings, now)
	seen := map[uint32]bool{}
	for _, request := range plan.Requests {
		var body struct {
			Events []json.RawMessage
			Client string `json:"client_id"`
		}
		if err := json.Unmarshal(request.Body, &body); err != nil || len(body.Events) > 25 || len(body.Events) != len(request.Events) {
			t.Fatal(err, len(body.Events), len(request.Events))
		}
		for _, place := range request.Events {
			if body.Client != fmt.Sprintf("a-%d", place%2) || seen[place] {
				t.Fatalf("event %d is in a request of %s", place, body.Client)
			}
			seen[place] = true
		}
	}
	if len(plan.Requests) != 4 || len(seen) != 60 {
		t.Fatal(len(plan.Requests), len(seen))
	}
}

func TestNames(t *testing.T) {
	for from, to := range map[string]string{
		"Tab Opened": "tab_opened", "tabOpened": "tab_opened", "2 Fast!": "fast", "  ": "", "Ärger": "rger",
		strings.Repeat("a", 39) + " b": strings.Repeat("a", 39),
	} {
		if got := snake(from); got != to {
			t.Errorf("%q: %q", from, got)
		}
	}
}

func TestWhatTheProtocolWouldDropFailsHere(t *testing.T) {
	events := []string{
		track(`"userId":"u","event":"First Open"`), track(`"userId":"u","event":"!!"`), track(`"userId":""`),
		track(`"userId":"u","timestamp":"2025-12-20T00:00:00Z"`), `null`, track(`"userId":"u","timestamp":1`),
	}
	var codes []string
	for _, failed := range Prepare(parsed(t, events...), settings, now).Failed {
		codes = append(codes, failed.Code)
	}
	expected := "[reserved-name reserved-name no-user too-old no-timestamp no-timestamp]"
	if got := fmt.Sprint(codes); got != expected {
		t.Fatal(got)
	}
}
