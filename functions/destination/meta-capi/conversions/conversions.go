// Package conversions makes requests of Meta's Conversions API.
package conversions

import (
	"errors"
	"net/url"
	"time"

	"tidegate"
)

const (
	// Meta refuses the whole request for one event that is older.
	ageMax     = 7 * 24 * time.Hour
	eventsMax  = 1000
	bytesMax   = 1_000_000
	retryMsMin = 60_000
)

// Settings as the owner gives them; the secret is a placeholder.
type Settings struct {
	PixelID       string            `json:"pixel_id"`
	AccessToken   string            `json:"access_token"`
	APIVersion    string            `json:"api_version"`
	TestEventCode string            `json:"test_event_code"`
	Events        map[string]string `json:"events"`
	OnlyMapped    bool              `json:"only_mapped"`
}

// Parse reads settings.
func Parse(given map[string]any) (Settings, error) {
	settings := Settings{APIVersion: "v23.0"}
	err := tidegate.ParseSettings(given, &settings)
	if err == nil && settings.PixelID == "" {
		err = errors.New("`pixel_id` is missing")
	}
	return settings, err
}

func (s Settings) url() string {
	// The placeholder of the secret is not for us to encode.
	return "https://graph.facebook.com/" + url.PathEscape(s.APIVersion) + "/" + url.PathEscape(s.PixelID) +
		"/events?access_token=" + s.AccessToken
}

// Prepare plans the requests of a batch; the manifest keeps batches small, because one event that Meta does not like costs
// the whole request.
func Prepare(events []tidegate.Event, settings Settings, nowMs uint64) *tidegate.Plan {
	plan := &tidegate.Plan{}
	records := plan.Records(events, func(event tidegate.Event) (any, error) {
		return converted(event, settings, time.UnixMilli(int64(nowMs)))
	})
	for _, chunk := range plan.Chunks(records, eventsMax, bytesMax) {
		array, places := tidegate.JSONArray(chunk)
		body := append([]byte(`{"data":`), array...)
		if settings.TestEventCode != "" {
			code, _ := tidegate.Encode(settings.TestEventCode)
			body = append(append(body, `,"test_event_code":`...), code...)
		}
		plan.SendJSON(settings.url(), append(body, '}'), places)
	}
	return plan
}

// Classify reads an answer. Meta's codes say more than the status: a limit that was hit is a 400. It answers for the whole
// request and does not name the event at fault.
func Classify(tag string, events []uint32, response tidegate.Response) tidegate.Verdict {
	var answer struct {
		Error *struct {
			Message     string `json:"message"`
			UserMessage string `json:"error_user_msg"`
			Code        int    `json:"code"`
			Subcode     int    `json:"error_subcode"`
			Transient   bool   `json:"is_transient"`
		} `json:"error"`
	}
	status := response.Status
	if status < 400 || !response.JSON(&answer) || answer.Error == nil {
		return withoutCode(tag, events, response)
	}
	said := answer.Error.UserMessage
	if said == "" {
		said = answer.Error.Message
	}
	switch code := answer.Error.Code; {
	case answer.Error.Transient, code == 1, code == 2, code == 4, code == 17, code == 32, code == 341, code == 613, code >= 80000 && code < 80100:
		return tidegate.Retry(max(response.RetryAfterMs(), retryMsMin))
	case code == 102, code == 190:
		return tidegate.Disable("invalid-token", said)
	case code == 100 && answer.Error.Subcode == 33:
		return tidegate.Disable("no-pixel", said)
	case code == 3, code == 10, code >= 200 && code < 300:
		return tidegate.Disable("no-permission", said)
	case status >= 500:
		return tidegate.Retry(response.RetryAfterMs())
	default:
		return tidegate.Bisect("refused", said)
	}
}

func withoutCode(tag string, events []uint32, response tidegate.Response) tidegate.Verdict {
	switch status := response.Status; {
	case status == 401, status == 403 && !response.IsOfProxy():
		return tidegate.Disable("unauthorized", response.Excerpt())
	case status == 413:
		return tidegate.Bisect("too-large", response.Excerpt())
	default:
		return tidegate.ClassifyByStatus(tag, events, response)
	}
}
