package main

import "tidegate"

// The limits of the API.
const (
	eventsMax = 100
	bytesMax  = 500_000
)

func init() { tidegate.Deliver(prepare, classify) }

func main() {}

func prepare(events []tidegate.Event, context *tidegate.Context) *tidegate.Plan {
	plan := &tidegate.Plan{}
	records := plan.Records(events, func(event tidegate.Event) (any, error) {
		user := tidegate.UserID(event)
		switch {
		case event["type"] != "track":
			return nil, tidegate.Skipping("not-tracked")
		case user == "":
			return nil, tidegate.Failing("missing-user", "Example knows users by their userId")
		}
		properties := tidegate.Properties(event)
		if properties == nil {
			properties = map[string]any{}
		}
		return map[string]any{
			"id": event["messageId"], "name": event["event"], "user": user, "at": event["timestamp"],
			"properties": properties,
		}, nil
	})
	for _, chunk := range plan.Chunks(records, eventsMax, bytesMax) {
		array, carried := tidegate.JSONArray(chunk)
		plan.SendJSON("https://api.example.com/v1/events", []byte(`{"events":`+string(array)+`}`), carried)
	}
	return plan
}

// What most APIs mean by their status codes; write your own when this one means something else.
func classify(tag string, events []uint32, response tidegate.Response) tidegate.Verdict {
	return tidegate.ClassifyByStatus(tag, events, response)
}
