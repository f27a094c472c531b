package conversions

import (
	"encoding/json"
	"slices"
	"strings"

	"tidegate"
)

// Properties of the specs that have another name at Meta.
var renamed = map[string]string{
	"order_id": "order_id", "query": "search_string", "name": "content_name", "category": "content_category",
}

// Properties that are part of something else in custom_data.
var consumed = []string{"products", "currency", "value", "revenue", "product_id", "productId", "sku", "price", "quantity"}

// Meta wants no personal data there, and no hash of it either.
var personal = []string{"email", "phone", "firstname", "first_name", "lastname", "last_name", "name_first", "name_last",
	"gender", "birthday", "dateofbirth", "date_of_birth", "dob", "address", "street", "city", "zip", "postalcode",
	"postal_code", "ip", "ssn", "password"}

// customData is what Meta knows of the spec's properties under its own names, and all other properties that are texts,
// numbers, booleans or lists of them under theirs.
func customData(properties map[string]any, name string) map[string]any {
	custom := map[string]any{}
	items, leftOutItems := tidegate.Items(properties)
	addMoney(custom, properties)
	addContents(custom, items)
	for from, to := range renamed {
		if text := tidegate.FirstID(properties, from); text != "" {
			custom[to] = text
		}
	}
	var leftOut []string
	for property, value := range properties {
		switch {
		case slices.Contains(consumed, property), renamed[property] != "":
		case slices.Contains(personal, strings.ToLower(property)), tidegate.Email(value) != "":
			leftOut = append(leftOut, property+" (personal)")
		case !isPlain(value):
			if value != nil && value != "" {
				leftOut = append(leftOut, property)
			}
		case custom[property] == nil:
			custom[property] = value
		}
	}
	if leftOutItems > 0 {
		leftOut = append(leftOut, "products that are no objects")
	}
	if custom["value"] == nil && (properties["revenue"] != nil || properties["value"] != nil) {
		leftOut = append(leftOut, "value, which is no number or has no currency")
	}
	if len(leftOut) > 0 {
		slices.Sort(leftOut)
		tidegate.Log("%s: left out %s", name, strings.Join(leftOut, ", "))
		tidegate.Count("properties-left-out", uint32(len(leftOut)))
	}
	return custom
}

// A value without its currency would be counted as dollars, or as nothing.
func addMoney(custom, properties map[string]any) {
	currency := tidegate.SharedCurrency(properties)
	if currency == "" {
		return
	}
	custom["currency"] = currency
	if amount, ok := tidegate.Revenue(properties); ok {
		custom["value"] = amount.Value
	}
}

func addContents(custom map[string]any, items []tidegate.Item) {
	var ids []string
	var contents []map[string]any
	for _, item := range items {
		id := item.ProductID
		if id == "" {
			id = item.SKU
		}
		if id == "" {
			continue
		}
		content := map[string]any{"id": id, "quantity": item.Quantity}
		if item.Price != "" {
			content["item_price"] = item.Price
		}
		ids, contents = append(ids, id), append(contents, content)
	}
	if len(ids) > 0 {
		custom["content_type"], custom["content_ids"], custom["contents"] = "product", ids, contents
	}
}

func isPlain(value any) bool {
	switch value := value.(type) {
	case string:
		return value != ""
	case json.Number, bool:
		return true
	case []any:
		return len(value) > 0 && !slices.ContainsFunc(value, func(item any) bool {
			_, isList := item.([]any)
			return isList || !isPlain(item)
		})
	}
	return false
}
