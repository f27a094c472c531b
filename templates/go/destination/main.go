package main

import "{{name}}/tidegate"

func init() { tidegate.Deliver(prepare, classify) }

func main() {}

func prepare(events []tidegate.Event, context *tidegate.Context) *tidegate.Plan {
	plan := &tidegate.Plan{}
	var carried []uint32
	var bodies []map[string]any
	for i, event := range events {
		index := uint32(i)
		user := tidegate.Text(event, "userId")
		switch {
		case event["type"] != "track":
			plan.Skip(index, "not-tracked")
		case user == "":
			plan.Fail(index, "missing-user", "Example knows users by their userId")
		default:
			carried = append(carried, index)
			properties, ok := event["properties"].(map[string]any)
			if !ok {
				properties = map[string]any{}
			}
			bodies = append(bodies, map[string]any{
				"id": event["messageId"], "name": event["event"], "user": user, "at": event["timestamp"],
				"properties": properties,
			})
		}
	}
	if len(carried) > 0 {
		body, err := tidegate.Encode(map[string]any{"events": bodies})
		if err != nil {
			panic(err)
		}
		plan.Send(tidegate.Request{
			URL:     "https://api.example.com/v1/events",
			Headers: map[string]string{"content-type": "application/json"},
			Body:    body,
			Events:  carried,
		})
	}
	return plan
}

// What most APIs mean by their status codes; write your own when this one means something else.
func classify(tag string, events []uint32, response tidegate.Response) tidegate.Verdict {
	return tidegate.ClassifyByStatus(tag, events, response)
}
