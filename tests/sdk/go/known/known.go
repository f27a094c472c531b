// Package known reads the known events and prints the line a client ends with.
package known

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"runtime/debug"
)

var (
	URL      = os.Getenv("TIDEGATE_URL")
	WriteKey = os.Getenv("TIDEGATE_WRITE_KEY")
	Run      = os.Getenv("TIDEGATE_RUN")
)

type Events struct {
	Identify map[string]any `json:"identify"`
	Group    map[string]any `json:"group"`
	Page     struct {
		Name       string         `json:"name"`
		Properties map[string]any `json:"properties"`
	} `json:"page"`
	OrderCompleted map[string]any `json:"Order Completed"`
	ProductViewed  map[string]any `json:"Product Viewed"`
}

// Read keeps numbers as they are written, so that an integer stays one.
func Read() Events {
	text, err := os.ReadFile(os.Getenv("TIDEGATE_SDK_EVENTS"))
	if err != nil {
		log.Fatal(err)
	}
	var events Events
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&events); err != nil {
		log.Fatal(err)
	}
	return events
}

// Track gives the name and the properties of the n-th of the 25 track calls.
func (e Events) Track(n int) (string, map[string]any) {
	if n%2 == 0 {
		return "Order Completed", Marked(e.OrderCompleted, "n", n)
	}
	return "Product Viewed", Marked(e.ProductViewed, "n", n)
}

// Marked is a copy of fields with the run in it, and with the pairs given.
func Marked(fields map[string]any, pairs ...any) map[string]any {
	marked := map[string]any{"run": Run}
	for name, value := range fields {
		marked[name] = value
	}
	for i := 0; i < len(pairs); i += 2 {
		marked[pairs[i].(string)] = pairs[i+1]
	}
	return marked
}

// Outcome counts what the SDK tells its callback about.
type Outcome struct {
	Sent   int
	Failed []error
}

func Done(sdk string, outcome Outcome) {
	if len(outcome.Failed) > 0 || outcome.Sent != 29 {
		log.Fatalf("the SDK reports %d of 29 events as sent, errors: %v", outcome.Sent, outcome.Failed)
	}
	version := "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == sdk {
				version = module.Version
			}
		}
	}
	line, err := json.Marshal(map[string]any{
		"sdk": sdk, "version": version, "run": Run,
		"expected": map[string]int{
			"tracks": 25, "identifies": 1, "pages": 1, "groups": 1, "aliases": 1,
			"order_completed": 13, "product_viewed": 12,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
