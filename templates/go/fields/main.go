package main

import (
	"strings"

	"tidegate"
)

var emails = []*tidegate.Path{tidegate.NewPath("/properties/email"), tidegate.NewPath("/traits/email")}

func init() { tidegate.Edit(edit) }

func main() {}

func edit(event tidegate.Fields, context *tidegate.Context) {
	for _, at := range emails {
		found, there := event.GetString(at)
		if !there {
			continue
		}
		email := strings.ToLower(found)
		if strings.HasSuffix(email, "@"+context.Setting("staff_domain")) {
			event.Drop("staff")
		} else if email != found {
			event.SetString(at, email)
		}
	}
}
