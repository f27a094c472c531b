package conversions

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tidegate"
)

const now = 1_767_225_600_000

func plan(t *testing.T, texts ...string) *tidegate.Plan {
	t.Helper()
	var events []tidegate.Event
	if err := tidegate.Decode([]byte("["+strings.Join(texts, ",")+"]"), &events); err != nil {
		t.Fatal(err)
	}
	return Prepare(events, Settings{PixelID: "1", APIVersion: "v23.0"}, now)
}

// one is the part of the one event that is sent for a track event.
func one(t *testing.T, part, name, more string) map[string]any {
	t.Helper()
	made := plan(t, fmt.Sprintf(`{"type":"track","userId":"u","event":%q,"timestamp":"2025-12-31T12:00:00Z",%s}`, name, more))
	var body struct{ Data []map[string]any }
	if len(made.Requests) != 1 || tidegate.Decode(made.Requests[0].Body, &body) != nil {
		t.Fatalf("%+v", made)
	}
	return tidegate.AsObject(body.Data[0][part])
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "[" + hex.EncodeToString(sum[:]) + "]"
}

// Hashes are those of Meta's own documentation.
func TestPersonalDataIsSpelledAsMetaWantsIt(t *testing.T) {
	user := one(t, "user_data", "Tab Opened", `"context":{"traits":{
		"email":" John_Smith@gmail.com ","phone":"+1 (650)555-1212","firstName":"Mary"}}`)
	for name, hash := range map[string]string{
		"em": "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
		"ph": "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",
		"fn": "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec",
	} {
		if got := fmt.Sprint(user[name]); got != "["+hash+"]" {
			t.Errorf("%s: %s", name, got)
		}
	}
	user = one(t, "user_data", "Tab Opened", `"context":{"traits":{"lastName":"O'Brien-Мария","gender":"Female",
		"birthday":"1997-02-16","address":{"city":"San Francisco","state":"CA","country":"US","postalCode":"94025-1234"}}}`)
	for name, text := range map[string]string{"ln": "obrienмария", "ge": "f", "db": "19970216", "ct": "sanfrancisco",
		"st": "ca", "country": "us", "zp": "94025"} {
		if got := fmt.Sprint(user[name]); got != hash(text) {
			t.Errorf("%s: %s", name, got)
		}
	}
	for zip, spelled := range map[string]string{"SW1A 1AA": "sw1a1aa", "100-0001": "1000001", "00-950": "00950", "94025": "94025"} {
		user = one(t, "user_data", "A", fmt.Sprintf(`"context":{"traits":{"address":{"zip":%q,"country":"United Kingdom"}}}`, zip))
		if got := fmt.Sprint(user["zp"]); got != hash(spelled) || user["country"] != nil {
			t.Errorf("%s: %s", zip, got)
		}
	}
}

func TestWhatIsHashedIsNotHashedAgainAndJunkIsNoPhone(t *testing.T) {
	given := strings.Repeat("A1b2", 16)
	user := one(t, "user_data", "A", fmt.Sprintf(`"context":{"traits":{"email":%q,"phone":%q,"firstName":%q}}`, given, given, given))
	for _, name := range []string{"em", "ph", "fn"} {
		if got := fmt.Sprint(user[name]); got != "["+strings.ToLower(given)+"]" {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, phone := range []string{`"N/A"`, `"123"`, `"555-1212"`, `15551234`, `true`, `[]`, `""`} {
		if user := one(t, "user_data", "A", `"context":{"traits":{"phone":`+phone+`}}`); user["ph"] != nil {
			t.Errorf("%s: %v", phone, user)
		}
	}
}

func TestPropertiesGoAlong(t *testing.T) {
	custom := one(t, "custom_data", "Product Viewed", `"properties":{"product_id":507,"price":"18.99","currency":"eur",
		"color":"red","sizes":["S","M"],"gift":true,"nested":{"a":1},"email":"a@b.example","recipient":"c@d.example","category":"Cups"}`)
	text, _ := json.Marshal(custom)
	expected := `{"color":"red","content_category":"Cups","content_ids":["507"],"content_type":"product",` +
		`"contents":[{"id":"507","item_price":18.99,"quantity":1}],"currency":"EUR","gift":true,"sizes":["S","M"],"value":18.99}`
	if string(text) != expected {
		t.Error(string(text))
	}
	if custom := one(t, "custom_data", "Product Viewed", `"properties":{"product_id":"a","price":1}`); custom["value"] != nil || custom["currency"] != nil {
		t.Error(custom)
	}
}

func TestWhatIsInNoContentsGoesAlong(t *testing.T) {
	for properties, expected := range map[string]string{
		`{"plan":"pro","price":"19.90","quantity":3}`: `{"plan":"pro","price":"19.90","quantity":3}`,
		`{"price":"N/A","sku":"G-32","quantity":"two"}`: `{"content_ids":["G-32"],"content_type":"product",` +
			`"contents":[{"id":"G-32","quantity":1}],"price":"N/A","quantity":"two"}`,
		`{"product_id":507,"productId":"507","sku":"G-32","price":2}`: `{"content_ids":["507"],"content_type":"product",` +
			`"contents":[{"id":"507","item_price":2,"quantity":1}],"sku":"G-32"}`,
		`{"products":[{"sku":"a"},{"name":"b"},7],"sku":"kit","price":9,"quantity":2}`: `{"content_ids":["a"],"content_type":"product",` +
			`"contents":[{"id":"a","quantity":1}],"price":9,"quantity":2,"sku":"kit"}`,
		`{"products":"two mugs"}`: `{"products":"two mugs"}`,
	} {
		text, _ := json.Marshal(one(t, "custom_data", "Plan Viewed", `"properties":`+properties))
		if string(text) != expected {
			t.Errorf("%s: %s", properties, text)
		}
	}
}

func TestAnIDOfNobodyIsNoPerson(t *testing.T) {
	at := `"timestamp":"2025-12-31T12:00:00Z"`
	made := plan(t, `{"type":"track","event":"A","userId":"undefined",`+at+`}`, `{"type":"track","event":"A","userId":0,`+at+`}`,
		`{"type":"track","event":"A","userId":"'NULL'",`+at+`,"context":{"traits":{"email":"ada@example.com"}}}`)
	if len(made.Failed) != 2 || made.Failed[0].Code != "no-user" || strings.Contains(string(made.Requests[0].Body), "external_id") {
		t.Fatalf("%+v", made)
	}
}

func TestA403OfAProxyStopsNothing(t *testing.T) {
	for body, kind := range map[string]tidegate.VerdictKind{
		"<html>403</html>": tidegate.KindRetry, "": tidegate.KindRetry, `{"message":"no"}`: tidegate.KindDisable,
	} {
		if verdict := Classify("", []uint32{0}, tidegate.Response{Status: 403, Body: []byte(body)}); verdict.Kind != kind {
			t.Errorf("%q: %v", body, verdict)
		}
	}
}

func TestAnEventThatMetaWouldRefuseCostsNobodyElse(t *testing.T) {
	at := `"timestamp":"2025-12-31T12:00:00Z"`
	purchase := func(properties string) string {
		return `{"type":"track","event":"Order Completed","userId":"u",` + at + `,"properties":` + properties + `}`
	}
	made := plan(t,
		`{"type":"track","event":"A","userId":"u","timestamp":"2025-12-01T00:00:00Z"}`, `{"type":"track","event":"A","userId":"",`+at+`}`,
		`{"type":"track","userId":"u",`+at+`}`, `{"type":"track","event":"A","userId":7,`+at+`}`, purchase(`{"revenue":19.9}`),
		purchase(`{"currency":"EUR","revenue":"N/A"}`), purchase(`[]`), purchase(`{"currency":"EUR","revenue":"19.9"}`))
	var codes []string
	for _, failed := range made.Failed {
		codes = append(codes, failed.Code)
	}
	expected := "[too-old no-user no-event-name no-currency no-value no-currency] [3 7]"
	if got := fmt.Sprint(codes, made.Requests[0].Events); got != expected {
		t.Fatal(got)
	}
}

func TestARefusedRequestIsHalved(t *testing.T) {
	refused := tidegate.Response{Status: 400, Body: []byte(`{"error":{"code":100,"message":"Invalid parameter"}}`)}
	if verdict := Classify("", []uint32{1, 4}, refused); verdict.Kind != tidegate.KindBisect {
		t.Error(verdict)
	}
	ingress := tidegate.Response{Status: 404, Body: []byte("<html>")}
	if verdict := Classify("", []uint32{4}, ingress); verdict.Kind != tidegate.KindRetry {
		t.Error(verdict)
	}
}
