// Package conversions makes requests of Meta's Conversions API.
package conversions

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"meta-capi/batch"
)

// Meta refuses the whole request for one event that is older.
const ageMax = 7 * 24 * time.Hour

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
func Parse(text []byte) (Settings, error) {
	settings := Settings{APIVersion: "v23.0"}
	err := json.Unmarshal(text, &settings)
	if err == nil && settings.PixelID == "" {
		err = errors.New("`pixel_id` is missing")
	}
	return settings, err
}

// Prepare plans one request for the batch; the manifest keeps batches small, because one event that Meta does not like
// costs the whole request.
func Prepare(events []batch.Fields, settings Settings, nowMS uint64) (plan batch.Plan) {
	var data []batch.Fields
	var places []uint32
	plan.Each(events, func(place uint32, event batch.Fields) error {
		converted, err := converted(event, settings, time.UnixMilli(int64(nowMS)))
		if err == nil {
			data, places = append(data, converted), append(places, place)
		}
		return err
	})
	if len(data) == 0 {
		return plan
	}
	body := batch.Fields{"data": data}
	if settings.TestEventCode != "" {
		body["test_event_code"] = settings.TestEventCode
	}
	plan.Requests = []batch.Request{{
		// The placeholder of the secret is not for us to encode.
		URL: "https://graph.facebook.com/" + url.PathEscape(settings.APIVersion) + "/" + url.PathEscape(settings.PixelID) +
			"/events?access_token=" + settings.AccessToken,
		Body:   batch.JSON(body),
		Events: places,
	}}
	return plan
}

// Classify reads an answer. Meta's codes say more than the status: a limit that was hit is a 400.
func Classify(status uint16, retryAfter string, body []byte) batch.Verdict {
	var answer struct {
		Error *struct {
			Message     string `json:"message"`
			UserMessage string `json:"error_user_msg"`
			Code        int    `json:"code"`
			Transient   bool   `json:"is_transient"`
		} `json:"error"`
	}
	if status < 400 || json.Unmarshal(body, &answer) != nil || answer.Error == nil {
		return batch.ByStatus(status, retryAfter, body)
	}
	said := answer.Error.UserMessage
	if said == "" {
		said = answer.Error.Message
	}
	switch code := answer.Error.Code; {
	case answer.Error.Transient, code == 1, code == 2, code == 4, code == 17, code == 32, code == 341, code == 613, code >= 80000 && code < 80100:
		return batch.Verdict{Kind: batch.Retry, AfterMS: max(batch.RetryAfterMS(retryAfter), 60_000)}
	case code == 102, code == 190:
		return batch.Verdict{Kind: batch.Disable, Failure: batch.Failure{Code: "invalid-token", Message: said}}
	case code == 3, code == 10, code >= 200 && code < 300:
		return batch.Verdict{Kind: batch.Disable, Failure: batch.Failure{Code: "no-permission", Message: said}}
	case status >= 500:
		return batch.Verdict{Kind: batch.Retry}
	default:
		return batch.Verdict{Kind: batch.Rejected, Failure: batch.Failure{Code: "refused", Message: said}}
	}
}

// What Segment's spec calls an event, and Meta's standard event for it.
var standard = map[string]string{
	"Product Viewed": "ViewContent", "Product List Viewed": "ViewContent", "Product Added": "AddToCart",
	"Product Added to Wishlist": "AddToWishlist", "Checkout Started": "InitiateCheckout",
	"Payment Info Entered": "AddPaymentInfo", "Order Completed": "Purchase", "Products Searched": "Search",
	"Signed Up": "CompleteRegistration", "Lead Submitted": "Lead", "Trial Started": "StartTrial",
	"Subscription Started": "Subscribe",
}

func converted(event batch.Fields, settings Settings, now time.Time) (batch.Fields, error) {
	name, err := name(event, settings)
	if err != nil {
		return nil, err
	}
	at, err := batch.Time(event)
	if err != nil {
		return nil, err
	}
	if now.Sub(at) > ageMax {
		return nil, batch.Fail("too-old", "Meta takes events of the last seven days")
	}
	user := userData(event)
	if user["em"] == nil && user["ph"] == nil && user["external_id"] == nil && user["fbp"] == nil && user["fbc"] == nil &&
		(user["client_ip_address"] == nil || user["client_user_agent"] == nil) {
		return nil, batch.Fail("no-user", "Meta needs a person: an email, a phone number, an id, or an address with a browser")
	}
	out := batch.Fields{"event_name": name, "event_time": at.Unix(), "user_data": user, "action_source": "system_generated"}
	// With the pixel's eventID the same, Meta counts the browser's and the server's event once.
	if id := batch.Text(event, "messageId"); id != "" {
		out["event_id"] = id
	}
	page := batch.Text(batch.Object(event, "context", "page"), "url")
	if seen := batch.Text(batch.Object(event, "properties"), "url"); seen != "" && (page == "" || name == "PageView") {
		page = seen
	}
	// Website events must say where and with what.
	if page != "" && user["client_user_agent"] != nil {
		out["action_source"], out["event_source_url"] = "website", page
	}
	if custom := customData(batch.Object(event, "properties")); len(custom) > 0 {
		out["custom_data"] = custom
	}
	return out, nil
}

func name(event batch.Fields, settings Settings) (string, error) {
	switch kind := batch.Text(event, "type"); kind {
	case "page":
		return "PageView", nil
	case "track":
		called := batch.Text(event, "event")
		if called == "" {
			return "", batch.Fail("no-event-name", "a track event needs `event`")
		}
		if name := settings.Events[called]; name != "" {
			return name, nil
		}
		if name := standard[called]; name != "" {
			return name, nil
		}
		if settings.OnlyMapped {
			return "", batch.Skip("the event is not among `events`, and `only_mapped` is set")
		}
		return strings.ToValidUTF8(called[:min(len(called), 50)], ""), nil
	default:
		return "", batch.Skip("Meta gets no " + kind + " events")
	}
}

var (
	notDigits  = regexp.MustCompile(`\D`)
	notLetters = regexp.MustCompile(`[^\p{L}]`)
	spaces     = regexp.MustCompile(`[\s-]`)
)

// Personal data is brought into Meta's spelling and hashed here; addresses and cookies go as they are.
func userData(event batch.Fields) batch.Fields {
	context := batch.Object(event, "context")
	traits := batch.Fields{}
	for _, from := range []batch.Fields{batch.Object(context, "traits"), batch.Object(event, "traits")} {
		for name, value := range from {
			traits[name] = value
		}
	}
	address := batch.Object(traits, "address")
	user := batch.Fields{}
	hashed := func(name, text string) {
		if text != "" {
			sum := sha256.Sum256([]byte(text))
			user[name] = []string{hex.EncodeToString(sum[:])}
		}
	}
	plain := func(name, text string) {
		if text != "" {
			user[name] = text
		}
	}
	lower := func(text string) string { return strings.ToLower(strings.TrimSpace(text)) }
	hashed("em", lower(batch.Text(traits, "email")))
	// Without the country's code a number matches nobody, or somebody else.
	if phone := batch.Text(traits, "phone"); strings.HasPrefix(strings.TrimSpace(phone), "+") {
		hashed("ph", notDigits.ReplaceAllString(phone, ""))
	}
	hashed("fn", notLetters.ReplaceAllString(lower(batch.Text(traits, "firstName", "first_name")), ""))
	hashed("ln", notLetters.ReplaceAllString(lower(batch.Text(traits, "lastName", "last_name")), ""))
	hashed("ct", notLetters.ReplaceAllString(lower(batch.Text(address, "city")), ""))
	hashed("st", notLetters.ReplaceAllString(lower(batch.Text(address, "state")), ""))
	country := lower(batch.Text(address, "country"))
	if len(country) == 2 {
		hashed("country", country)
	}
	zip := spaces.ReplaceAllString(lower(batch.Text(address, "postalCode", "zip")), "")
	if country == "us" {
		zip = zip[:min(len(zip), 5)]
	}
	hashed("zp", zip)
	hashed("external_id", batch.Text(event, "userId"))
	plain("client_ip_address", batch.Text(context, "ip"))
	plain("client_user_agent", batch.Text(context, "userAgent"))
	plain("fbp", batch.Text(context, "fbp"))
	plain("fbc", batch.Text(context, "fbc"))
	return user
}

func customData(properties batch.Fields) batch.Fields {
	custom := batch.Fields{}
	if value, ok := batch.Number(properties, "revenue", "value", "total", "price"); ok {
		custom["value"], custom["currency"] = value, "USD"
		if currency := batch.Text(properties, "currency"); currency != "" {
			custom["currency"] = currency
		}
	}
	for from, to := range map[string]string{"order_id": "order_id", "query": "search_string", "name": "content_name", "category": "content_category"} {
		if text := batch.Text(properties, from); text != "" {
			custom[to] = text
		}
	}
	products, _ := properties["products"].([]any)
	if products == nil && batch.Text(properties, "product_id", "sku") != "" {
		products = []any{properties}
	}
	var ids []string
	var contents []batch.Fields
	for _, product := range products {
		product, _ := product.(batch.Fields)
		id := batch.Text(product, "product_id", "sku")
		if id == "" {
			continue
		}
		content := batch.Fields{"id": id, "quantity": json.Number("1")}
		if quantity, ok := batch.Number(product, "quantity"); ok {
			content["quantity"] = quantity
		}
		if price, ok := batch.Number(product, "price"); ok {
			content["item_price"] = price
		}
		ids, contents = append(ids, id), append(contents, content)
	}
	if len(ids) > 0 {
		custom["content_type"], custom["content_ids"], custom["contents"] = "product", ids, contents
	}
	return custom
}
