"""An order with products becomes the order and one event for each product."""

from typing import Any

from tidegate import Context, Event, Result, as_list, keep, properties


def transform(event: Event, context: Context) -> Result:
    settings = context.settings
    if event.get("event") not in settings.get("events", ["Order Completed"]):
        return keep
    order = properties(event)
    products = as_list(order.get(settings.get("list", "products")))
    name = settings.get("name", "Product Purchased")
    carried = {key: order[key] for key in settings.get("carry", ["order_id", "currency"]) if key in order}
    items = [
        item(event, name, number, {**carried, **product})
        for number, product in enumerate(products, start=1)
        if isinstance(product, dict)
    ]
    return [event, *items] if items else keep


def item(order: Event, name: str, number: int, product: dict[str, Any]) -> Event:
    """One product as an event of the same person, at the same time, in the same context."""
    # An id made from the order's: the same product has the same id whenever the order is split again.
    own_id = {"messageId": f"{order['messageId']}/{number}"} if "messageId" in order else {}
    return {**order, **own_id, "event": name, "properties": {**product, "position": number}}
