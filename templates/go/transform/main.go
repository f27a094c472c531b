package main

import (
	"strings"

	"tidegate"
)

func init() { tidegate.Transform(transform) }

func main() {}

func transform(event tidegate.Event, context *tidegate.Context) tidegate.Outcome {
	holder := "properties"
	if tidegate.Text(event, holder, "email") == "" {
		holder = "traits"
	}
	found := tidegate.Text(event, holder, "email")
	if found == "" {
		return tidegate.Keep()
	}
	email := strings.ToLower(found)
	if strings.HasSuffix(email, "@"+context.Setting("staff_domain")) {
		return tidegate.Drop("staff")
	}
	if email == found {
		return tidegate.Keep()
	}
	event[holder].(map[string]any)["email"] = email
	return tidegate.Replace(event)
}
