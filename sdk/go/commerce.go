package tidegate

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var (
	numeric       = regexp.MustCompile(`^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$`)
	threeLetters  = regexp.MustCompile(`^[A-Za-z]{3}$`)
	leadingZeros  = regexp.MustCompile(`^(-?)0*(\d)`)
	emptyFraction = regexp.MustCompile(`\.([eE]|$)`)
)

// Number is a finite number, also one written as text such as " 19.99 "; false for anything else, "19,99" and "$19.99"
// included. Its digits stay as they are.
func Number(value any) (json.Number, bool) {
	var text string
	switch value := value.(type) {
	case json.Number:
		text = value.String()
	case string:
		text = strings.TrimSpace(value)
		if !numeric.MatchString(text) {
			return "", false
		}
		text = strings.TrimPrefix(text, "+")
		if digits, negative := strings.CutPrefix(text, "-"); strings.HasPrefix(digits, ".") {
			text = "0" + digits
			if negative {
				text = "-" + text
			}
		}
		text = emptyFraction.ReplaceAllString(leadingZeros.ReplaceAllString(text, "$1$2"), "$1")
	default:
		return "", false
	}
	float, err := strconv.ParseFloat(text, 64)
	return json.Number(text), err == nil && !math.IsInf(float, 0) && !math.IsNaN(float)
}

// Currency is three letters in upper case; "" for anything else.
func Currency(value any) string {
	text, _ := value.(string)
	if text = strings.TrimSpace(text); threeLetters.MatchString(text) {
		return strings.ToUpper(text)
	}
	return ""
}

// SharedCurrency is the `currency` of the properties, else the one that all their line items share; "" when there is none.
func SharedCurrency(properties map[string]any) string {
	if currency := Currency(properties["currency"]); currency != "" {
		return currency
	}
	items, _ := Items(properties)
	shared := ""
	for _, item := range items {
		if item.Currency == "" || shared != "" && item.Currency != shared {
			return ""
		}
		shared = item.Currency
	}
	return shared
}

// Amount is an amount of money. No currency is ever assumed: it is "" when the event names none.
type Amount struct {
	Value    json.Number
	Currency string
}

// Float is the amount as a binary number, to compare and add.
func (a Amount) Float() float64 {
	float, _ := a.Value.Float64()
	return float
}

// Money is the first of the properties called names that is an amount, with the `currency` beside it; false when none is.
func Money(properties map[string]any, names ...string) (Amount, bool) {
	for _, name := range names {
		if value, ok := Number(properties[name]); ok {
			return Amount{value, Currency(properties["currency"])}, true
		}
	}
	return Amount{}, false
}

// Revenue is what was earned: `revenue`, else `value`, else `subtotal`, else the sum of price x quantity of the line
// items. `total` comes last, because it holds tax and shipping. False when nothing of these is an amount.
func Revenue(properties map[string]any) (Amount, bool) {
	if found, ok := Money(properties, "revenue", "value", "subtotal"); ok {
		return found, true
	}
	if found, ok := ItemsTotal(properties); ok {
		return found, true
	}
	return Money(properties, "total")
}

// ItemsTotal is the sum of price x quantity of the line items that have a price; false when none has.
func ItemsTotal(properties map[string]any) (Amount, bool) {
	items, _ := Items(properties)
	sum, priced := 0.0, false
	for _, item := range items {
		if item.Price == "" {
			continue
		}
		price, _ := item.Price.Float64()
		quantity, _ := item.Quantity.Float64()
		sum, priced = sum+price*quantity, true
	}
	// Without the dust of binary fractions: 3 x 19.99 is 59.97.
	if math.Abs(sum) < 1e9 {
		sum = math.Round(sum*1e6) / 1e6
	}
	if math.IsInf(sum, 0) || math.IsNaN(sum) {
		return Amount{}, false
	}
	return Amount{json.Number(strconv.FormatFloat(sum, 'f', -1, 64)), Currency(properties["currency"])}, priced
}

// Item is a line item. What is missing or odd is "", and Quantity is 1 then. Source is the product as it came.
type Item struct {
	ProductID, SKU, Name, Brand, Category, Variant, Coupon, URL, ImageURL, Currency string
	Price, Quantity, Position                                                       json.Number
	Source                                                                          map[string]any
}

// Items are the line items of `products`, else the one product in the properties themselves, as the e-commerce
// specifications of Segment and RudderStack have them; and how many entries of `products` were no objects and are left out.
func Items(properties map[string]any) (items []Item, leftOut int) {
	if list, ok := properties["products"].([]any); ok {
		for _, product := range list {
			if product, ok := product.(map[string]any); ok {
				items = append(items, AsItem(product))
			} else {
				leftOut++
			}
		}
		return items, leftOut
	}
	// Any of these in the properties themselves makes them a product.
	if FirstID(properties, "product_id", "productId", "sku") != "" {
		items = append(items, AsItem(properties))
	}
	return items, 0
}

// AsItem is one product as a line item.
func AsItem(product map[string]any) Item {
	text := func(names ...string) string { return FirstID(product, names...) }
	number := func(name string) json.Number {
		if found, ok := Number(product[name]); ok {
			return found
		}
		return ""
	}
	item := Item{
		ProductID: text("product_id", "productId", "id"), SKU: text("sku"), Name: text("name"), Brand: text("brand"),
		Category: text("category"), Variant: text("variant"), Coupon: text("coupon"), URL: text("url"),
		ImageURL: text("image_url", "imageUrl"), Currency: Currency(product["currency"]), Price: number("price"),
		Quantity: number("quantity"), Position: number("position"), Source: product,
	}
	if item.Quantity == "" {
		item.Quantity = "1"
	}
	return item
}
