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

// Meta wants no personal data there, and no hash of it either.
var personal = []string{"email", "phone", "firstname", "first_name", "lastname", "last_name", "name_first", "name_last",
	"gender", "birthday", "dateofbirth", "date_of_birth", "dob", "address", "street", "city", "zip", "postalcode",
	"postal_code", "ip", "ssn", "password"}

// customData is what Meta knows of the spec's properties under its own names, and all other properties that are texts,
// numbers, booleans or lists of them under theirs.
func customData(properties map[string]any, name string) map[string]any {
	custom := map[string]any{}
	items, leftOutItems := tidegate.Items(properties)
	used := map[string]bool{"currency": true, "value": true, "revenue": true}
	addMoney(custom, properties)
	leftOutItems += addContents(custom, items)
	if _, isList := properties["products"].([]any); isList {
		used["products"] = true
	} else if len(items) == 1 {
		useProduct(used, items[0])
	}
	for from, to := range renamed {
		if text := tidegate.FirstID(properties, from); text != "" {
			custom[to] = text
		}
	}
	var leftOut []string
	for property, value := range properties {
		switch {
		case used[property], renamed[property] != "":
		case slices.Contains(personal, strings.ToLower(property)), tidegate.Email(value) != "":
			leftOut = append(leftOut, property+" (personal)")
		case !isPlain(value):
			if value != nil && value != "" {
				leftOut = append(leftOut, property)
			}
		case custom[property] != nil:
			leftOut = append(leftOut, property)
		default:
			custom[property] = value
		}
	}
	if leftOutItems > 0 {
		leftOut = append(leftOut, "products without an id")
	}
	if custom["currency"] == nil && properties["currency"] != nil {
		leftOut = append(leftOut, "currency, which is no code of three letters")
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

// useProduct notes which properties are in the contents, when they are a product themselves.
func useProduct(used map[string]bool, product tidegate.Item) {
	for _, name := range []string{"product_id", "productId", "sku"} {
		id := tidegate.ID(product.Source[name])
		used[name] = id != "" && id == contentID(product)
	}
	used["price"] = product.Price != ""
	_, used["quantity"] = tidegate.Number(product.Source["quantity"])
}

func contentID(product tidegate.Item) string {
	if product.ProductID != "" {
		return product.ProductID
	}
	return product.SKU
}

// addContents answers how many products have no id and are left out.
func addContents(custom map[string]any, items []tidegate.Item) (leftOut int) {
	var ids []string
	var contents []map[string]any
	for _, item := range items {
		id := contentID(item)
		if id == "" {
			leftOut++
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
	return leftOut
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
