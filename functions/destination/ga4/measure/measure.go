// Package measure makes requests of the GA4 Measurement Protocol.
package measure

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"time"

	"tidegate"
)

// The limits of the protocol.
const (
	eventsMax     = 25
	bodyBytesMax  = 130_000
	aroundBytes   = 2_000
	backdatingMax = 72 * time.Hour
)

// Settings as the owner gives them; the secret is a placeholder.
type Settings struct {
	MeasurementID  string            `json:"measurement_id"`
	APISecret      string            `json:"api_secret"`
	Region         string            `json:"region"`
	Events         map[string]string `json:"events"`
	UserProperties []string          `json:"user_properties"`
	Debug          bool              `json:"debug"`
}

var takenName = regexp.MustCompile(`^\pL[\pL\pM\p{Nd}_]{0,39}$`)

// Parse reads settings.
func Parse(given map[string]any) (settings Settings, err error) {
	if err = tidegate.ParseSettings(given, &settings); err == nil && settings.MeasurementID == "" {
		err = errors.New("`measurement_id` is missing")
	}
	for _, called := range slices.Sorted(maps.Keys(settings.Events)) {
		if name := settings.Events[called]; err == nil && (!takenName.MatchString(name) || reserved(name, reservedEvents)) {
			err = fmt.Errorf("`events` has the name %q for %q: GA4 takes a letter and up to 39 letters, digits and _ after it, and keeps "+
				"some names for itself", name, called)
		}
	}
	return settings, err
}

func (s Settings) url() string {
	host := "https://www.google-analytics.com"
	if s.Region == "eu" {
		host = "https://region1.google-analytics.com"
	}
	// The placeholder of the secret is not for us to encode.
	return host + "/mp/collect?measurement_id=" + url.QueryEscape(s.MeasurementID) + "&api_secret=" + s.APISecret
}

// A request is about one client.
type client struct{ id, user string }

// Prepare plans the requests of a batch. nowMs is the time of the batch.
func Prepare(events []tidegate.Event, settings Settings, nowMs uint64) *tidegate.Plan {
	plan := &tidegate.Plan{}
	var clients []client
	entries := map[client][]tidegate.Entry{}
	plan.Each(events, func(place uint32, event tidegate.Event) error {
		measured, err := measured(event, settings)
		if err != nil {
			return err
		}
		at, ok := tidegate.Time(event)
		if !ok {
			return tidegate.Failing("no-timestamp", "the event has no timestamp that can be read")
		}
		if time.UnixMilli(int64(nowMs)).Sub(at) > backdatingMax {
			return tidegate.Failing("too-old", "GA4 drops events of more than 72 hours ago")
		}
		measured["timestamp_micros"] = at.UnixMicro()
		from := client{tidegate.Somebody(tidegate.ContextValue(event, "ga_client_id")), tidegate.Somebody(event["userId"])}
		if from.id == "" {
			from.id = tidegate.Somebody(event["anonymousId"])
		}
		if from.id == "" {
			from.id = from.user
		}
		if from.id == "" {
			return tidegate.Failing("no-user", "GA4 needs an `anonymousId` or `userId` of somebody")
		}
		text, err := tidegate.Encode(measured)
		if err != nil {
			return err
		}
		if entries[from] == nil {
			clients = append(clients, from)
		}
		entries[from] = append(entries[from], tidegate.Entry{Events: []uint32{place}, JSON: text})
		return nil
	})
	for _, from := range clients {
		for _, chunk := range plan.Chunks(entries[from], eventsMax, bodyBytesMax-aroundBytes) {
			array, places := tidegate.JSONArray(chunk)
			plan.SendJSON(settings.url(), body(from, array, places, events, settings), places)
		}
	}
	return plan
}

// body is what is said of the client, and after it the events, which are JSON already.
func body(from client, array []byte, places []uint32, events []tidegate.Event, settings Settings) []byte {
	about := map[string]any{"client_id": from.id}
	if from.user != "" {
		about["user_id"] = from.user
	}
	properties := map[string]any{}
	for _, place := range places {
		addUserProperties(properties, events[place], settings)
	}
	if len(properties) > 0 {
		about["user_properties"] = properties
	}
	// All of it came from JSON.
	text, _ := tidegate.Encode(about)
	text = append(bytes.TrimSuffix(text, []byte("}")), `,"events":`...)
	return append(append(text, array...), '}')
}

// Classify reads an answer. The protocol answers 2xx to everything that it can read at all.
func Classify(tag string, events []uint32, response tidegate.Response) tidegate.Verdict {
	switch status := response.Status; {
	case status == 401, status == 403 && !response.IsOfProxy():
		return tidegate.Disable("unauthorized", "GA4 answered: "+response.Excerpt())
	case status == 413:
		return tidegate.Bisect("too-large", "GA4 takes requests of up to 130 kB")
	default:
		return tidegate.ClassifyByStatus(tag, events, response)
	}
}
