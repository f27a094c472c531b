package measure

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"tidegate"
)

const now = 1_767_225_600_000

var settings = Settings{MeasurementID: "G-1", APISecret: "{{secret.api_secret}}"}

func plan(t *testing.T, texts ...string) *tidegate.Plan {
	t.Helper()
	var events []tidegate.Event
	if err := tidegate.Decode([]byte("["+strings.Join(texts, ",")+"]"), &events); err != nil {
		t.Fatal(err)
	}
	return Prepare(events, settings, now)
}

func track(more string) string {
	return `{"type":"track","event":"Tab Opened","timestamp":"2025-12-31T12:00:00Z",` + more + `}`
}

// sent is the first event of the first request for a track event with these properties.
func sent(t *testing.T, name, properties string) (string, map[string]any) {
	t.Helper()
	made := plan(t, track(fmt.Sprintf(`"userId":"u","event":%q,"properties":%s`, name, properties)))
	var body struct {
		Events []struct {
			Name   string
			Params map[string]any
		}
	}
	if len(made.Requests) != 1 || tidegate.Decode(made.Requests[0].Body, &body) != nil {
		t.Fatalf("%+v", made)
	}
	return body.Events[0].Name, body.Events[0].Params
}

func TestEventsOfOneClientShareRequestsWithinTheLimits(t *testing.T) {
	var events []string
	for i := range 60 {
		events = append(events, track(fmt.Sprintf(`"anonymousId":"a-%d"`, i%2)))
	}
	made := plan(t, events...)
	seen := map[uint32]bool{}
	for _, request := range made.Requests {
		var body struct {
			Events []json.RawMessage
			Client string `json:"client_id"`
		}
		if err := json.Unmarshal(request.Body, &body); err != nil || len(body.Events) > 25 || len(body.Events) != len(request.Events) {
			t.Fatal(err, len(body.Events), len(request.Events))
		}
		for _, place := range request.Events {
			if body.Client != fmt.Sprintf("a-%d", place%2) || seen[place] {
				t.Fatalf("event %d is in a request of %s", place, body.Client)
			}
			seen[place] = true
		}
	}
	if len(made.Requests) != 4 || len(seen) != 60 {
		t.Fatal(len(made.Requests), len(seen))
	}
}

func TestNames(t *testing.T) {
	for from, to := range map[string]string{
		"Tab Opened": "tab_opened", "tabOpened": "tab_opened", "2 Fast!": "event_2_fast", "  ": "", "Ärger": "ärger",
		"Checkout Step 1": "checkout_step_1", "Checkout Step 2": "checkout_step_2", "Заказ Оформлен": "заказ_оформлен",
		"カート 追加": "カート_追加", "हिन्दी": "हिन्दी", "☕": "",
		"item_category2": "item_category2", "step2Done": "step2_done",
	} {
		if got := snake(from, "event"); got != to {
			t.Errorf("%q: %q", from, got)
		}
	}
}

// said is what the plugin logs meanwhile.
func said(t *testing.T, run func()) string {
	t.Helper()
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = before }()
	run()
	text, _ := os.ReadFile(file.Name())
	return string(text)
}

func TestANameThatIsCutIsSaidOnce(t *testing.T) {
	long := strings.Repeat("ä", 39)
	var names []string
	log := said(t, func() {
		for _, name := range []string{long + " b", long + " c", long + " b", long + "z"} {
			name, params := sent(t, name, fmt.Sprintf(`{%q:1,"short":2}`, long+"yes"))
			names = append(names, name)
			if params[long+"y"] != json.Number("1") || params["short"] != json.Number("2") {
				t.Error(params)
			}
		}
	})
	if fmt.Sprint(names) != fmt.Sprint([]string{long, long, long, long + "z"}) {
		t.Error(names)
	}
	for _, line := range []string{
		fmt.Sprintf("GA4 takes names of 40 characters: the event %q is sent as %s\n", long+" b", long),
		fmt.Sprintf("GA4 takes names of 40 characters: the event %q is sent as %s\n", long+" c", long),
		fmt.Sprintf("GA4 takes names of 40 characters: the property %q is sent as %s\n", long+"yes", long+"y"),
	} {
		if strings.Count(log, line) != 1 {
			t.Errorf("%q is not once in\n%s", line, log)
		}
	}
	if strings.Count(log, "\n") != 3 {
		t.Error(log)
	}
}

func TestAUserPropertyThatIsLeftOutIsSaid(t *testing.T) {
	wanted := Settings{MeasurementID: "G-1", UserProperties: []string{"user_id", "list", "a trait with a name that is long", "absent", "Plan"}}
	traits := `"user_id":1,"list":[1],"a trait with a name that is long":1,"Plan":"pro"`
	for i := range 26 {
		wanted.UserProperties = append(wanted.UserProperties, fmt.Sprintf("t%02d", i))
		traits += fmt.Sprintf(`,"t%02d":%d`, i, i)
	}
	events := fmt.Sprintf("[%[1]s,%[1]s]", track(`"userId":"u","context":{"traits":{`+traits+`}}`))
	var given []tidegate.Event
	if err := tidegate.Decode([]byte(events), &given); err != nil {
		t.Fatal(err)
	}
	var made *tidegate.Plan
	log := said(t, func() { made = Prepare(given, wanted, now) })
	var body struct {
		Properties map[string]any `json:"user_properties"`
	}
	if err := tidegate.Decode(made.Requests[0].Body, &body); err != nil || len(body.Properties) != 25 || body.Properties["t24"] != nil {
		t.Fatal(err, body)
	}
	expected := `the user property "user_id" is left out: GA4 keeps the name for itself, or it has more than 24 characters
the user property "list" is left out: it is no text, number or boolean
the user property "a trait with a name that is long" is left out: GA4 keeps the name for itself, or it has more than 24 characters
the user property "t24" is left out: GA4 takes 25 of a user
the user property "t25" is left out: GA4 takes 25 of a user
`
	if log != expected {
		t.Error(log)
	}
}

func TestANameInTheSettingsIsOneThatGA4Takes(t *testing.T) {
	for name, fits := range map[string]bool{
		"purchase": true, "Заказ_2": true, strings.Repeat("x", 40): true, strings.Repeat("x", 41): false, "a b": false,
		"2nd": false, "": false, "_a": false, "first_open": false, "ga_x": false,
	} {
		_, err := Parse(map[string]any{"measurement_id": "G-1", "events": map[string]any{"Tab Opened": name}})
		if (err == nil) != fits {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAnIDOfNobodyIsNoClient(t *testing.T) {
	made := plan(t,
		track(`"userId":"undefined","anonymousId":"a-1"`), track(`"userId":"u-1","anonymousId":"[object Object]"`),
		track(`"userId":0,"anonymousId":"'null'"`), track(`"userId":"u-2","context":{"ga_client_id":"NaN"}`))
	var bodies []string
	for _, request := range made.Requests {
		body, _, _ := strings.Cut(string(request.Body), `,"events"`)
		bodies = append(bodies, body)
	}
	expected := `{"client_id":"a-1" {"client_id":"u-1","user_id":"u-1" {"client_id":"u-2","user_id":"u-2"`
	if got := strings.Join(bodies, " "); got != expected || len(made.Failed) != 1 || made.Failed[0].Code != "no-user" {
		t.Error(got, made.Failed)
	}
}

func TestA403OfAProxyStopsNothing(t *testing.T) {
	for body, kind := range map[string]tidegate.VerdictKind{
		"<html>403</html>": tidegate.KindRetry, "": tidegate.KindRetry, `{"error":"no"}`: tidegate.KindDisable,
	} {
		if verdict := Classify("", []uint32{0}, tidegate.Response{Status: 403, Body: []byte(body)}); verdict.Kind != kind {
			t.Errorf("%q: %v", body, verdict)
		}
	}
}

func TestAValueIsWithoutTaxAndShippingAndHasACurrency(t *testing.T) {
	products := `"products":[{"product_id":1,"price":"19.99","quantity":3},{"sku":"b","price":1}]`
	for properties, expected := range map[string]string{
		`{"revenue":"19.90","subtotal":5,"total":30,"currency":"eur"}`: "19.90 EUR",
		`{"subtotal":5,"total":30,"currency":"EUR",` + products + `}`:  "5 EUR",
		`{"total":30,"tax":4,"currency":"EUR",` + products + `}`:       "60.97 EUR",
		`{"total":30,"tax":4,"currency":"EUR"}`:                        "<nil> EUR",
		`{"revenue":19.9}`:                                             "<nil> <nil>",
		`{"revenue":19.9,"currency":"Euros"}`:                          "<nil> <nil>",
		`{"revenue":"19,99","currency":"USD"}`:                         "<nil> USD",
		`{"products":[{"sku":"a","price":2,"currency":"GBP"}]}`:        "2 GBP",
	} {
		_, params := sent(t, "Order Completed", properties)
		if got := fmt.Sprint(params["value"], " ", params["currency"]); got != expected {
			t.Errorf("%s: %s", properties, got)
		}
	}
	_, params := sent(t, "Order Completed", `{"tax":"1.50","shipping":"N/A","total":30,"currency":"EUR"}`)
	if params["tax"] != json.Number("1.50") || params["total"] != json.Number("30") || params["shipping"] != "N/A" {
		t.Error(params)
	}
}

func TestEveryCommerceEventHasItsItems(t *testing.T) {
	one := `{"product_id":507,"sku":"G-32","name":"Mug ☕","category":"Kitchen","price":"18.99","position":3,"category2":"Cups","currency":"EUR"}`
	item := map[string]any{"item_id": "507", "item_name": "Mug ☕", "item_category": "Kitchen", "item_category2": "Cups",
		"price": json.Number("18.99"), "index": json.Number("3"), "quantity": json.Number("1")}
	for name, expected := range map[string]string{
		"Product Added to Wishlist": "add_to_wishlist", "product added": "add_to_cart", "Product Viewed": "view_item",
		"Product Clicked": "select_item", "Product Removed": "remove_from_cart", "Wishlist Product Added to Cart": "add_to_cart",
		"Product Removed from Wishlist": "product_removed_from_wishlist", "Product Reviewed": "product_reviewed",
	} {
		got, params := sent(t, name, one)
		if got != expected || !reflect.DeepEqual(params["items"], []any{item}) || params["value"] != json.Number("18.99") {
			t.Errorf("%s: %s %v", name, got, params)
		}
	}
	_, params := sent(t, "Promotion Viewed", `{"promotion_id":"p-1","name":"Sale","creative":"top","position":"banner"}`)
	promotion := map[string]any{"item_id": "p-1", "item_name": "Sale", "promotion_id": "p-1", "promotion_name": "Sale",
		"creative_name": "top", "creative_slot": "banner"}
	if !reflect.DeepEqual(params["items"], []any{promotion}) || params["promotion_name"] != "Sale" || params["creative_slot"] != "banner" {
		t.Error(params)
	}
	_, params = sent(t, "Cart Viewed", `{"products":["junk",{"name":"A"},{"price":1},[]]}`)
	if items := params["items"].([]any); len(items) != 1 {
		t.Error(params)
	}
}

func TestWhatIsLeftOutDoesNotDependOnChance(t *testing.T) {
	properties := `{"gclid":"x","recipient":"a@b.example","_hidden":1,"list":[1],"empty":"","nothing":null`
	for i := range 40 {
		properties += fmt.Sprintf(`,"p%02d":%d`, i, i)
	}
	_, params := sent(t, "Tab Opened", properties+"}")
	if len(params) != 25 || params["p22"] == nil || params["p23"] != nil || params["gclid"] != nil || params["recipient"] != nil || params["list"] != nil {
		t.Error(len(params), params)
	}
}

func TestWhatTheProtocolWouldDropFailsHere(t *testing.T) {
	made := plan(t,
		track(`"userId":"u","event":"First Open"`), track(`"userId":"u","event":"!!"`), track(`"userId":""`),
		track(`"userId":"u","timestamp":"2025-12-20T00:00:00Z"`), `null`, track(`"userId":"u","timestamp":1`),
		track(`"userId":"u","event":"Form Submit"`), track(`"userId":[],"anonymousId":{}`))
	var codes []string
	for _, failed := range made.Failed {
		codes = append(codes, failed.Code)
	}
	expected := "[reserved-name reserved-name no-user too-old not-an-object no-timestamp reserved-name no-user]"
	if got := fmt.Sprint(codes); got != expected {
		t.Fatal(got)
	}
}

func TestANumericIDIsText(t *testing.T) {
	made := plan(t, track(`"userId":9007199254740993,"properties":[]`))
	if !strings.Contains(string(made.Requests[0].Body), `"client_id":"9007199254740993"`) {
		t.Fatal(string(made.Requests[0].Body))
	}
}
