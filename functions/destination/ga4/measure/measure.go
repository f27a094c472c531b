// Package measure makes requests of the GA4 Measurement Protocol.
package measure

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"ga4/batch"
)

// The limits of the protocol.
const (
	eventsMax     = 25
	paramsMax     = 25
	nameMax       = 40
	bodyBytesMax  = 130_000
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

// Parse reads settings.
func Parse(text []byte) (settings Settings, err error) {
	if err = json.Unmarshal(text, &settings); err == nil && settings.MeasurementID == "" {
		err = errors.New("`measurement_id` is missing")
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

// A request is about one client; events of one client share requests.
type group struct {
	client     batch.Fields
	events     []batch.Fields
	places     []uint32
	properties batch.Fields
	bytes      int
}

// Prepare plans the requests of a batch. nowMS is the time of the batch.
func Prepare(events []batch.Fields, settings Settings, nowMS uint64) (plan batch.Plan) {
	var groups []*group
	open := map[string]*group{}
	plan.Each(events, func(place uint32, event batch.Fields) error {
		at, err := batch.Time(event)
		if err != nil {
			return err
		}
		if time.UnixMilli(int64(nowMS)).Sub(at) > backdatingMax {
			return batch.Fail("too-old", "GA4 drops events of more than 72 hours ago")
		}
		measured, err := measured(event, settings)
		if err != nil {
			return err
		}
		measured["timestamp_micros"] = at.UnixMicro()
		user, client := batch.Text(event, "userId"), batch.Text(batch.Object(event, "context"), "ga_client_id")
		if client == "" {
			client = batch.Text(event, "anonymousId", "userId")
		}
		if client == "" {
			return batch.Fail("no-user", "GA4 needs `anonymousId` or `userId`")
		}
		size := len(batch.JSON(measured)) + 1
		if size > bodyBytesMax-2_000 {
			return batch.Fail("too-large", "GA4 takes requests of up to 130 kB")
		}
		key := client + "\x00" + user
		into := open[key]
		if into == nil || len(into.events) == eventsMax || into.bytes+size > bodyBytesMax-2_000 {
			into = &group{client: batch.Fields{"client_id": client}}
			if user != "" {
				into.client["user_id"] = user
			}
			open[key] = into
			groups = append(groups, into)
		}
		if properties := userProperties(event, settings); len(properties) > 0 {
			into.client["user_properties"] = properties
		}
		into.events = append(into.events, measured)
		into.places = append(into.places, place)
		into.bytes += size
		return nil
	})
	for _, group := range groups {
		group.client["events"] = group.events
		plan.Requests = append(plan.Requests, batch.Request{
			URL:    settings.url(),
			Body:   batch.JSON(group.client),
			Events: group.places,
		})
	}
	return plan
}

// Classify reads an answer. The protocol answers 2xx to everything that it can read at all.
func Classify(status uint16, retryAfter string, body []byte) batch.Verdict {
	return batch.ByStatus(status, retryAfter, body)
}

// What Segment's spec calls an event, and GA4's recommended name for it.
var recommended = map[string]string{
	"Product List Viewed": "view_item_list", "Product Viewed": "view_item", "Product Clicked": "select_item",
	"Product Added": "add_to_cart", "Product Removed": "remove_from_cart", "Cart Viewed": "view_cart",
	"Product Added to Wishlist": "add_to_wishlist", "Checkout Started": "begin_checkout",
	"Payment Info Entered": "add_payment_info", "Order Completed": "purchase", "Order Refunded": "refund",
	"Products Searched": "search", "Promotion Viewed": "view_promotion", "Promotion Clicked": "select_promotion",
	"Signed Up": "sign_up", "Signed In": "login",
}

// Property names of Segment's spec, and GA4's. Of two for the same, the first that is there counts.
var parameters = [][2]string{
	{"order_id", "transaction_id"}, {"revenue", "value"}, {"total", "value"}, {"price", "value"}, {"query", "search_term"},
	{"title", "page_title"}, {"url", "page_location"}, {"referrer", "page_referrer"}, {"list_id", "item_list_id"},
}

var itemFields = [][2]string{
	{"product_id", "item_id"}, {"sku", "item_id"}, {"name", "item_name"}, {"brand", "item_brand"}, {"category", "item_category"},
	{"variant", "item_variant"}, {"price", "price"}, {"quantity", "quantity"}, {"coupon", "coupon"}, {"position", "index"},
}

func measured(event batch.Fields, settings Settings) (batch.Fields, error) {
	properties := batch.Object(event, "properties")
	var name string
	switch kind := batch.Text(event, "type"); kind {
	case "track":
		called := batch.Text(event, "event")
		if called == "" {
			return nil, batch.Fail("no-event-name", "a track event needs `event`")
		}
		if name = settings.Events[called]; name == "" {
			name = recommended[called]
		}
		if name == "" {
			name = snake(called)
		}
	case "page":
		name = "page_view"
	default:
		return nil, batch.Skip("GA4 gets no " + kind + " events")
	}
	if reserved(name) {
		return nil, batch.Fail("reserved-name", "GA4 keeps the event name "+name+" for itself; map the event to another in `events`")
	}
	params := batch.Fields{"engagement_time_msec": 1}
	if settings.Debug {
		params["debug_mode"] = 1
	}
	if session := batch.Text(batch.Object(event, "context"), "session_id", "sessionId"); session != "" {
		params["session_id"] = session
	}
	used := map[string]bool{"products": true}
	for _, pair := range parameters {
		if value, ok := scalar(properties[pair[0]]); ok && params[pair[1]] == nil {
			params[pair[1]] = value
			used[pair[0]] = true
		}
	}
	page := batch.Object(event, "context", "page")
	for from, to := range map[string]string{"title": "page_title", "url": "page_location", "referrer": "page_referrer"} {
		if value := batch.Text(page, from); value != "" && params[to] == nil {
			params[to] = value
		}
	}
	if items := items(properties, name); len(items) > 0 {
		params["items"] = items
	}
	// The rest, in an order of its own: what goes over the limit must not depend on chance.
	names := make([]string, 0, len(properties))
	for property := range properties {
		names = append(names, property)
	}
	slices.Sort(names)
	for _, property := range names {
		name := snake(property)
		if value, ok := scalar(properties[property]); ok && !used[property] && params[name] == nil && name != "" && len(params) < paramsMax {
			params[name] = value
		}
	}
	return batch.Fields{"name": name, "params": params}, nil
}

func items(properties batch.Fields, name string) (items []batch.Fields) {
	products, _ := properties["products"].([]any)
	if products == nil && strings.HasSuffix(name, "_item") || products == nil && strings.HasSuffix(name, "_cart") {
		products = []any{properties}
	}
	for _, product := range products {
		product, _ := product.(batch.Fields)
		item := batch.Fields{}
		for _, pair := range itemFields {
			if value, ok := scalar(product[pair[0]]); ok && item[pair[1]] == nil {
				item[pair[1]] = value
			}
		}
		if item["item_id"] != nil || item["item_name"] != nil {
			items = append(items, item)
		}
	}
	return items
}

func userProperties(event batch.Fields, settings Settings) batch.Fields {
	traits := batch.Object(event, "context", "traits")
	properties := batch.Fields{}
	for _, name := range settings.UserProperties {
		if value, ok := scalar(traits[name]); ok && snake(name) != "" {
			properties[snake(name)] = batch.Fields{"value": value}
		}
	}
	return properties
}

// GA4 takes texts and numbers.
func scalar(value any) (any, bool) {
	switch value := value.(type) {
	case string, json.Number:
		return value, value != ""
	case bool:
		if value {
			return "true", true
		}
		return "false", true
	}
	return nil, false
}

var (
	boundary = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	others   = regexp.MustCompile(`[^A-Za-z0-9]+`)
)

// A name as GA4 wants it: letters, digits and _, a letter first, 40 characters at most.
func snake(name string) string {
	name = others.ReplaceAllString(boundary.ReplaceAllString(name, "${1}_$2"), "_")
	name = strings.ToLower(strings.Trim(name, "_0123456789"))
	return strings.TrimRight(name[:min(len(name), nameMax)], "_")
}

// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#reserved_names
var reservedNames = strings.Fields(`ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data
	app_exception app_install app_remove app_store_refund app_update app_upgrade dynamic_link_app_open
	dynamic_link_app_update dynamic_link_first_open error firebase_campaign firebase_in_app_message_action
	firebase_in_app_message_dismiss firebase_in_app_message_impression first_open first_visit in_app_purchase
	notification_dismiss notification_foreground notification_open notification_receive os_update session_start
	session_start_with_rollout user_engagement`)

func reserved(name string) bool {
	prefixed := strings.HasPrefix(name, "ga_") || strings.HasPrefix(name, "google_") || strings.HasPrefix(name, "firebase_")
	return name == "" || prefixed || slices.Contains(reservedNames, name)
}
