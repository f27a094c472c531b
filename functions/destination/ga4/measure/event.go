package measure

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"tidegate"
)

// Parameters of an event, and properties of a user.
const (
	paramsMax         = 25
	userPropertiesMax = 25
	userPropertyMax   = 24
)

// Properties of the specs that have another name in GA4. Of two for the same, the first that is there counts.
var parameters = [][2]string{
	{"order_id", "transaction_id"}, {"query", "search_term"}, {"title", "page_title"}, {"url", "page_location"},
	{"referrer", "page_referrer"}, {"list_id", "item_list_id"}, {"category", "item_list_name"},
	{"payment_method", "payment_type"}, {"shipping_method", "shipping_tier"}, {"share_via", "method"},
	{"promotion_id", "promotion_id"}, {"name", "promotion_name"}, {"creative", "creative_name"},
	{"position", "creative_slot"},
}

// These of them only mean that in these events.
var onlyIn = map[string][]string{
	"item_list_name": {"view_item_list", "select_item"}, "promotion_name": promotions, "creative_name": promotions,
	"creative_slot": promotions, "method": {"share"},
	"payment_type": {"add_payment_info"}, "shipping_tier": {"add_payment_info", "add_shipping_info"},
}

var promotions = []string{"view_promotion", "select_promotion"}

// measured is an event of GA4, still without its time.
func measured(event tidegate.Event, settings Settings) (map[string]any, error) {
	var name string
	switch kind := tidegate.Text(event, "type"); kind {
	case "track":
		called := tidegate.Name(event)
		if called == "" {
			return nil, tidegate.Failing("no-event-name", "a track event needs `event`")
		}
		name = eventName(called, settings)
		if name == "" {
			return nil, tidegate.Failing("reserved-name", "GA4 takes letters and digits; map the event to another name in `events`")
		}
	case "page":
		name = "page_view"
	default:
		return nil, tidegate.Skipping("GA4 gets no " + kind + " events")
	}
	if reserved(name, reservedEvents) {
		return nil, tidegate.Failing("reserved-name", "GA4 keeps the event name "+name+" for itself; map the event to another in `events`")
	}
	properties := tidegate.Properties(event)
	params := params{values: map[string]any{"engagement_time_msec": 1}, used: map[string]bool{"products": true}}
	if settings.Debug {
		params.values["debug_mode"] = 1
	}
	session := tidegate.ContextText(event, "session_id")
	if session == "" {
		session = tidegate.ContextText(event, "sessionId")
	}
	if session != "" {
		params.values["session_id"] = session
	}
	params.addItems(properties, name)
	params.addMoney(properties)
	params.addNamed(event, name)
	params.addRest(properties)
	if len(params.leftOut) > 0 {
		tidegate.Log("%s: left out %s", name, strings.Join(params.leftOut, ", "))
		tidegate.Count("parameters-left-out", uint32(len(params.leftOut)))
	}
	return map[string]any{"name": name, "params": params.values}, nil
}

// params are the parameters of one event while they are made.
type params struct {
	values map[string]any
	// Properties that are in values under another name.
	used    map[string]bool
	leftOut []string
}

func (p *params) addNamed(event tidegate.Event, name string) {
	properties := tidegate.Properties(event)
	for _, pair := range parameters {
		from, to := pair[0], pair[1]
		if events := onlyIn[to]; p.used[from] || events != nil && !slices.Contains(events, name) {
			continue
		}
		if text := tidegate.ID(properties[from]); text != "" && p.values[to] == nil {
			p.values[to] = text
			p.used[from] = true
		}
	}
	for _, pair := range [][2]string{{"title", "page_title"}, {"url", "page_location"}, {"referrer", "page_referrer"}} {
		if value := tidegate.ContextText(event, "page."+pair[0]); value != "" && p.values[pair[1]] == nil {
			p.values[pair[1]] = value
		}
	}
}

// A value is what was earned, without tax and shipping; GA4 wants it with its currency or not at all.
func (p *params) addMoney(properties map[string]any) {
	currency := tidegate.SharedCurrency(properties)
	p.used["currency"], p.used["value"], p.used["revenue"] = true, true, true
	if currency != "" {
		p.values["currency"] = currency
	} else if properties["currency"] != nil {
		p.leftOut = append(p.leftOut, "currency, which is no code of three letters")
	}
	amount, ok := tidegate.Money(properties, "revenue", "subtotal")
	if !ok {
		amount, ok = tidegate.ItemsTotal(properties)
	}
	if !ok {
		amount, ok = tidegate.Money(properties, "value")
	}
	switch {
	case ok && currency != "":
		p.values["value"] = amount.Value
	case ok:
		p.leftOut = append(p.leftOut, "value, which has no currency")
	}
	for _, name := range []string{"tax", "shipping"} {
		if number, ok := tidegate.Number(properties[name]); ok {
			p.values[name] = number
			p.used[name] = true
		}
	}
}

// The rest, in an order of its own: what goes over the limit must not depend on chance.
func (p *params) addRest(properties map[string]any) {
	for _, property := range slices.Sorted(maps.Keys(properties)) {
		if p.used[property] {
			continue
		}
		name := snake(property, "param")
		value, ok := scalar(properties[property])
		if ok && value != "" {
			name = short(name, "property", property)
		}
		switch {
		case !ok && properties[property] == nil, properties[property] == "":
		// Google forbids personal data.
		case tidegate.Email(value) != "":
			p.leftOut = append(p.leftOut, property+", which is an email address")
		case !ok, name == "", reserved(name, reservedParams), p.values[name] != nil, len(p.values) >= paramsMax:
			p.leftOut = append(p.leftOut, property)
		default:
			p.values[name] = value
		}
	}
}

func addUserProperties(to map[string]any, event tidegate.Event, settings Settings) {
	traits := tidegate.Object(event, "context", "traits")
	for _, trait := range settings.UserProperties {
		name := snake(trait, "trait")
		value, ok := scalar(traits[trait])
		why := ""
		switch {
		case traits[trait] == nil, traits[trait] == "":
			continue
		case !ok:
			why = "it is no text, number or boolean"
		case name == "", len([]rune(name)) > userPropertyMax, reserved(name, reservedUserProperties):
			why = "GA4 keeps the name for itself, or it has more than 24 characters"
		case len(to) == userPropertiesMax && to[name] == nil:
			why = "GA4 takes 25 of a user"
		default:
			to[name] = map[string]any{"value": value}
			continue
		}
		tidegate.WarnOnce("the user property %q is left out: %s", trait, why)
		tidegate.Count("user-properties-left-out", 1)
	}
}

// GA4 takes texts and numbers.
func scalar(value any) (any, bool) {
	switch value := value.(type) {
	case string, json.Number:
		return value, value != ""
	case bool:
		return map[bool]string{true: "true", false: "false"}[value], true
	}
	return nil, false
}
