package conversions

import (
	"strings"
	"time"

	"tidegate"
)

// Characters of an event's name.
const nameMax = 50

// What Segment's and RudderStack's specs call an event, in lower case, and Meta's standard event for it.
var standard = map[string]string{
	"product viewed": "ViewContent", "product list viewed": "ViewContent", "product added": "AddToCart",
	"wishlist product added to cart": "AddToCart", "product added to wishlist": "AddToWishlist",
	"checkout started": "InitiateCheckout", "payment info entered": "AddPaymentInfo", "order completed": "Purchase",
	"products searched": "Search", "signed up": "CompleteRegistration", "lead submitted": "Lead",
	"trial started": "StartTrial", "subscription started": "Subscribe",
}

// converted is an event of Meta.
func converted(event tidegate.Event, settings Settings, now time.Time) (map[string]any, error) {
	name, err := name(event, settings)
	if err != nil {
		return nil, err
	}
	at, ok := tidegate.Time(event)
	if !ok {
		return nil, tidegate.Failing("no-timestamp", "the event has no timestamp that can be read")
	}
	if now.Sub(at) > ageMax {
		return nil, tidegate.Failing("too-old", "Meta takes events of the last seven days")
	}
	user := userData(event)
	if user["em"] == nil && user["ph"] == nil && user["external_id"] == nil && user["fbp"] == nil && user["fbc"] == nil &&
		(user["client_ip_address"] == nil || user["client_user_agent"] == nil) {
		return nil, tidegate.Failing("no-user", "Meta needs a person: an email, a phone number, an id, or an address with a browser")
	}
	properties := tidegate.Properties(event)
	custom := customData(properties, name)
	// Meta would refuse the whole request for it.
	if name == "Purchase" && custom["value"] == nil {
		if custom["currency"] == nil {
			return nil, tidegate.Failing("no-currency", "Meta takes a Purchase only with its `currency`, three letters")
		}
		return nil, tidegate.Failing("no-value", "Meta takes a Purchase only with its `revenue`, a number")
	}
	out := map[string]any{"event_name": name, "event_time": at.Unix(), "user_data": user, "action_source": "system_generated"}
	// With the pixel's eventID the same, Meta counts the browser's and the server's event once.
	if id := tidegate.MessageID(event); id != "" {
		out["event_id"] = id
	}
	page := tidegate.ContextText(event, "page.url")
	if seen := tidegate.FirstID(properties, "url"); seen != "" && (page == "" || name == "PageView") {
		page = seen
	}
	// Website events must say where and with what.
	if page != "" && user["client_user_agent"] != nil {
		out["action_source"], out["event_source_url"] = "website", page
	}
	if len(custom) > 0 {
		out["custom_data"] = custom
	}
	return out, nil
}

func name(event tidegate.Event, settings Settings) (string, error) {
	switch kind := tidegate.Text(event, "type"); kind {
	case "page":
		return "PageView", nil
	case "track":
		called := tidegate.Name(event)
		if called == "" {
			return "", tidegate.Failing("no-event-name", "a track event needs `event`")
		}
		if name := settings.Events[called]; name != "" {
			return name, nil
		}
		if name := standard[strings.ToLower(strings.TrimSpace(called))]; name != "" {
			return name, nil
		}
		if settings.OnlyMapped {
			return "", tidegate.Skipping("the event is not among `events`, and `only_mapped` is set")
		}
		letters := []rune(called)
		if len(letters) > nameMax {
			tidegate.WarnOnce("Meta takes names of %d characters: %q is cut", nameMax, called)
		}
		return string(letters[:min(len(letters), nameMax)]), nil
	default:
		return "", tidegate.Skipping("Meta gets no " + kind + " events")
	}
}

// userData is who it was. Personal data is brought into Meta's spelling and hashed here, except for what came hashed;
// addresses and cookies go as they are.
func userData(event tidegate.Event) map[string]any {
	traits := tidegate.Traits(event)
	address := tidegate.AsObject(traits["address"])
	user := map[string]any{}
	hashed := func(name string, kind tidegate.PersonalKind, from map[string]any, members ...string) {
		if hash := tidegate.Hashed(tidegate.FirstID(from, members...), kind); hash != "" {
			user[name] = []string{hash}
		}
	}
	plain := func(name, member string) {
		if text := tidegate.ContextText(event, member); text != "" {
			user[name] = text
		}
	}
	hashed("em", tidegate.HashEmail, traits, "email")
	hashed("ph", tidegate.HashPhone, traits, "phone")
	hashed("fn", tidegate.HashName, traits, "firstName", "first_name", "firstname")
	hashed("ln", tidegate.HashName, traits, "lastName", "last_name", "lastname")
	hashed("ge", tidegate.HashGender, traits, "gender")
	hashed("db", tidegate.HashBirth, traits, "birthday", "dateOfBirth", "date_of_birth")
	for _, from := range []map[string]any{traits, address} {
		hashed("ct", tidegate.HashCity, from, "city")
		hashed("st", tidegate.HashState, from, "state", "region")
		hashed("country", tidegate.HashCountry, from, "country")
		hashed("zp", tidegate.HashZip, from, "postalCode", "postal_code", "zip")
	}
	if hash := tidegate.Hashed(tidegate.Somebody(event["userId"]), tidegate.HashID); hash != "" {
		user["external_id"] = []string{hash}
	}
	plain("client_ip_address", "ip")
	plain("client_user_agent", "userAgent")
	plain("fbp", "fbp")
	plain("fbc", "fbc")
	return user
}
