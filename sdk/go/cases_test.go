package tidegate

import (
	"fmt"
	"os"
	"reflect"
	"testing"
)

type testCase struct {
	Name string
	In   any
	Out  any
}

// each runs a test for every case of a file that all languages share.
func each(t *testing.T, file string, run func(t *testing.T, in map[string]any, out any)) {
	each1(t, file, func(t *testing.T, in, out any) { run(t, AsObject(in), out) })
}

func each1(t *testing.T, file string, run func(t *testing.T, in, out any)) {
	t.Helper()
	text, err := os.ReadFile("../cases/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	if err := Decode(text, &cases); err != nil || len(cases) == 0 {
		t.Fatal(err, len(cases))
	}
	for _, one := range cases {
		t.Run(one.Name, func(t *testing.T) { run(t, one.In, one.Out) })
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(plain(t, got), plain(t, want)) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// plain is a value with its numbers as binary ones: those are compared.
func plain(t *testing.T, value any) any {
	t.Helper()
	text, err := Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	var decoded any
	if err := Decode(text, &decoded); err != nil {
		t.Fatal(err)
	}
	return numbers(decoded)
}

func numbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name := range value {
			value[name] = numbers(value[name])
		}
	case []any:
		for i := range value {
			value[i] = numbers(value[i])
		}
	case interface{ Float64() (float64, error) }:
		float, _ := value.Float64()
		return float
	}
	return value
}

// orNil is nil for a text or a list that says that there is none.
func orNil[T comparable](value T) any {
	var none T
	if value == none {
		return nil
	}
	return value
}

func TestIDs(t *testing.T) {
	each(t, "ids.json", func(t *testing.T, in map[string]any, out any) {
		readers := map[string]func(Event) string{"user_id": UserID, "anonymous_id": AnonymousID, "group_id": GroupID,
			"message_id": MessageID, "previous_id": PreviousID, "user": User}
		for name, want := range AsObject(out) {
			same(t, orNil(readers[name](in)), want)
		}
	})
}

func TestNobody(t *testing.T) {
	each1(t, "nobody.json", func(t *testing.T, in, out any) { same(t, orNil(Somebody(in)), out) })
}

func TestTimes(t *testing.T) {
	each1(t, "times.json", func(t *testing.T, in, out any) {
		at, ok := Time(Event{"timestamp": in})
		var got any
		if ok {
			got = map[string]any{"ms": at.UnixMilli(), "seconds": at.Unix(), "text": TimeText(at)}
		}
		same(t, got, out)
	})
}

func TestTraits(t *testing.T) {
	each(t, "traits.json", func(t *testing.T, in map[string]any, out any) {
		for member, want := range AsObject(out) {
			switch member {
			case "traits":
				same(t, Traits(in), want)
			case "properties":
				got := Properties(in)
				if got == nil {
					got = map[string]any{}
				}
				same(t, got, want)
			case "name":
				same(t, orNil(Name(in)), want)
			case "context":
				for path, want := range AsObject(want) {
					same(t, ContextValue(in, path), want)
				}
			default:
				t.Fatal(member)
			}
		}
	})
}

func TestMoney(t *testing.T) {
	each(t, "money.json", func(t *testing.T, in map[string]any, out any) {
		properties := AsObject(in["properties"])
		var names []string
		list, _ := in["names"].([]any)
		for _, name := range list {
			names = append(names, name.(string))
		}
		amount, ok := Amount{}, false
		switch in["call"] {
		case "number":
			number, ok := Number(in["value"])
			if !ok {
				same(t, nil, out)
				return
			}
			same(t, number, out)
			return
		case "currency":
			same(t, orNil(Currency(in["value"])), out)
			return
		case "money":
			amount, ok = Money(properties, names...)
		case "revenue":
			amount, ok = Revenue(properties)
		case "items_total":
			amount, ok = ItemsTotal(properties)
		default:
			t.Fatal(in)
		}
		if !ok {
			same(t, nil, out)
			return
		}
		same(t, map[string]any{"amount": amount.Value, "currency": orNil(amount.Currency)}, out)
	})
}

func TestItems(t *testing.T) {
	each(t, "items.json", func(t *testing.T, in map[string]any, out any) {
		items, leftOut := Items(in)
		made := []any{}
		for _, item := range items {
			members := map[string]any{}
			for name, value := range map[string]any{
				"product_id": orNil(item.ProductID), "sku": orNil(item.SKU), "name": orNil(item.Name),
				"brand": orNil(item.Brand), "category": orNil(item.Category), "variant": orNil(item.Variant),
				"price": orNil(item.Price), "quantity": orNil(item.Quantity), "coupon": orNil(item.Coupon),
				"position": orNil(item.Position), "url": orNil(item.URL), "image_url": orNil(item.ImageURL),
				"currency": orNil(item.Currency),
			} {
				if value != nil {
					members[name] = value
				}
			}
			made = append(made, members)
		}
		same(t, map[string]any{"items": made, "left_out": leftOut}, out)
	})
}

func TestPhones(t *testing.T) {
	each1(t, "phones.json", func(t *testing.T, in, out any) { same(t, orNil(Phone(in)), out) })
}

func TestHashes(t *testing.T) {
	each(t, "hashes.json", func(t *testing.T, in map[string]any, out any) {
		same(t, orNil(Hashed(in["value"], PersonalKind(in["kind"].(string)))), out)
	})
}

func integer(t *testing.T, value any) int {
	t.Helper()
	number, ok := Number(value)
	integer, err := number.Int64()
	if !ok || err != nil {
		t.Fatal(value)
	}
	return int(integer)
}

func TestChunks(t *testing.T) {
	each(t, "chunks.json", func(t *testing.T, in map[string]any, out any) {
		records := in["records"].([]any)
		plan := &Plan{}
		entries := plan.Records(make([]Event, 0), nil)
		for i, record := range records {
			text, err := Encode(record)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, Entry{[]uint32{uint32(i)}, text})
		}
		chunks := []any{}
		for _, chunk := range plan.Chunks(entries, integer(t, in["count_max"]), integer(t, in["bytes_max"])) {
			_, events := JSONArray(chunk)
			chunks = append(chunks, events)
		}
		tooLarge := []uint32{}
		for _, failed := range plan.Failed {
			if failed.Code != "too-large" {
				t.Error(failed)
			}
			tooLarge = append(tooLarge, failed.Event)
		}
		same(t, map[string]any{"chunks": chunks, "too_large": tooLarge}, out)
	})
}

func TestVerdicts(t *testing.T) {
	each(t, "verdicts.json", func(t *testing.T, in map[string]any, out any) {
		headers := map[string]string{}
		for name, value := range AsObject(in["headers"]) {
			headers[name] = value.(string)
		}
		events := make([]uint32, integer(t, in["events"]))
		for i := range events {
			events[i] = uint32(i)
		}
		response := Response{Status: uint16(integer(t, in["status"])), Headers: headers, Body: []byte(in["body"].(string)),
			NowMs: uint64(integer(t, in["now_ms"]))}
		var got any
		switch verdict := ClassifyByStatus("", events, response); verdict.Kind {
		case KindDelivered, KindReauthenticate:
			got = string(verdict.Kind)
		case KindRetry:
			got = map[string]any{"retry": orNil(verdict.AfterMs)}
			if want := AsObject(out); want != nil && fmt.Sprint(want["retry"]) == "0" {
				out = map[string]any{"retry": nil}
			}
		case KindRejected:
			got = map[string]any{"rejected": verdict.Code}
		case KindBisect:
			got = map[string]any{"bisect": verdict.Code}
		}
		same(t, got, out)
	})
}

func TestA403OfAProxyIsTriedLater(t *testing.T) {
	for body, kind := range map[string]VerdictKind{
		"<html>403 Forbidden</html>": KindRetry, "": KindRetry, `"no"`: KindRetry, "null": KindRetry, `{"error":"no"}`: KindBisect,
	} {
		verdict := ClassifyByStatus("", []uint32{0}, Response{Status: 403, Headers: map[string]string{"retry-after": "5"}, Body: []byte(body)})
		if verdict.Kind != kind || kind == KindRetry && verdict.AfterMs != 5000 {
			t.Errorf("%s: %v", body, verdict)
		}
	}
}

func TestAWarningIsWrittenOnce(t *testing.T) {
	var lines []string
	before := host.log
	defer func() { host.log = before }()
	host.log = func(level uint8, message string) { lines = append(lines, fmt.Sprint(level, " ", message)) }
	for _, name := range []string{"a", "b", "a"} {
		WarnOnce("the name %q is cut", name)
	}
	if got := fmt.Sprint(lines); got != `[2 the name "a" is cut 2 the name "b" is cut]` {
		t.Error(got)
	}
}

func TestAPanicAndAValueThatIsNoJSONCostOneEvent(t *testing.T) {
	plan := &Plan{}
	events := []Event{{"n": "panic"}, nil, {"n": "nan"}, {"n": "skip"}, {"n": "good"}}
	entries := plan.Records(events, func(event Event) (any, error) {
		switch event["n"] {
		case "panic":
			return event["x"].(string), nil
		case "nan":
			return nan(), nil
		case "skip":
			return nil, Skipping("no")
		}
		return event, nil
	})
	if len(entries) != 1 || entries[0].Events[0] != 4 || len(plan.Skipped) != 1 {
		t.Fatal(entries, plan)
	}
	var codes []string
	for _, failed := range plan.Failed {
		codes = append(codes, failed.Code)
	}
	if got := fmt.Sprint(codes); got != "[go-panic not-an-object not-json]" {
		t.Fatal(got)
	}
}

func nan() float64 {
	zero := 0.0
	return zero / zero
}

func TestALookupSaysWhatIsWrong(t *testing.T) {
	TestTables["colors"] = map[string]string{"red": `{"hex":9007199254740993}`}
	found, err := Lookup("colors", "red")
	if err != nil || fmt.Sprint(found) != "map[hex:9007199254740993]" {
		t.Fatal(found, err)
	}
	if found, err := Lookup("colors", "blue"); found != nil || err != nil {
		t.Fatal(found, err)
	}
	for _, wrong := range [][2]string{{"colors", ""}, {"shapes", "round"}} {
		if _, err := Lookup(wrong[0], wrong[1]); err == nil {
			t.Fatal(wrong)
		}
	}
}
