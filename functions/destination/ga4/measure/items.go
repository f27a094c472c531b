package measure

import (
	"slices"

	"tidegate"
)

// Items of an event.
const itemsMax = 200

// Fields of a product that have GA4's name already, or one of which GA4 has another.
var itemFields = [][2]string{
	{"item_category2", "item_category2"}, {"item_category3", "item_category3"}, {"item_category4", "item_category4"},
	{"item_category5", "item_category5"}, {"category2", "item_category2"}, {"category3", "item_category3"},
	{"category4", "item_category4"}, {"category5", "item_category5"}, {"item_list_id", "item_list_id"},
	{"item_list_name", "item_list_name"}, {"list_id", "item_list_id"}, {"affiliation", "affiliation"},
	{"location_id", "location_id"}, {"promotion_id", "promotion_id"}, {"promotion_name", "promotion_name"},
	{"creative_name", "creative_name"}, {"creative_slot", "creative_slot"},
}

// Properties that an item was made of, when the properties are the product.
var productFields = []string{"product_id", "productId", "id", "sku", "name", "brand", "category", "variant", "price",
	"quantity", "position", "category2", "category3", "category4", "category5", "item_category2", "item_category3",
	"item_category4", "item_category5", "affiliation"}

func (p *params) addItems(properties map[string]any, name string) {
	products, leftOut := tidegate.Items(properties)
	var items []map[string]any
	for _, product := range products {
		item := item(product)
		if item["item_id"] == nil && item["item_name"] == nil {
			leftOut++
			continue
		}
		items = append(items, item)
	}
	if leftOut > 0 {
		p.leftOut = append(p.leftOut, "products without id and name")
	}
	if len(items) > itemsMax {
		items = items[:itemsMax]
		p.leftOut = append(p.leftOut, "products after the 200th")
	}
	isOne := properties["products"] == nil && len(items) > 0
	if slices.Contains(promotions, name) && len(items) == 0 {
		items = promoted(properties)
	}
	if len(items) == 0 {
		return
	}
	p.values["items"] = items
	if isOne {
		for _, field := range productFields {
			p.used[field] = true
		}
	}
}

func item(product tidegate.Item) map[string]any {
	item := map[string]any{"quantity": product.Quantity}
	id := product.ProductID
	if id == "" {
		id = product.SKU
	}
	for name, text := range map[string]string{
		"item_id": id, "item_name": product.Name, "item_brand": product.Brand, "item_category": product.Category,
		"item_variant": product.Variant, "coupon": product.Coupon,
	} {
		if text != "" {
			item[name] = text
		}
	}
	if product.Price != "" {
		item["price"] = product.Price
	}
	if product.Position != "" {
		item["index"] = product.Position
	}
	if discount, ok := tidegate.Number(product.Source["discount"]); ok {
		item["discount"] = discount
	}
	for _, pair := range itemFields {
		if text := tidegate.ID(product.Source[pair[0]]); text != "" && item[pair[1]] == nil {
			item[pair[1]] = text
		}
	}
	return item
}

// promoted is the item of a promotion without products: GA4 counts promotions by their items.
func promoted(properties map[string]any) []map[string]any {
	item := map[string]any{}
	for _, pair := range [][2]string{
		{"promotion_id", "item_id"}, {"promotion_id", "promotion_id"}, {"name", "item_name"}, {"name", "promotion_name"},
		{"creative", "creative_name"}, {"position", "creative_slot"},
	} {
		if text := tidegate.ID(properties[pair[0]]); text != "" {
			item[pair[1]] = text
		}
	}
	if item["item_id"] == nil && item["item_name"] == nil {
		return nil
	}
	return []map[string]any{item}
}
