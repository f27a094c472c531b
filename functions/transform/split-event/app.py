"""An order with products becomes the order and one event for each product."""

from typing import Any

from tidegate import Context, Event, Result, keep


def transform(event: Event, context: Context) -> Result:
    settings = context.settings
    if event.get("event") not in settings.get("events", ["Order Completed"]):
        return keep
    order = event.get("properties")
    products = order.get(settings.get("list", "products")) if isinstance(order, dict) else None
    if not isinstance(products, list):
        return keep
    name = settings.get("name", "Product Purchased")
    carried = {key: order[key] for key in settings.get("carry", ["order_id", "currency"]) if key in order}
    items = [
        item(event, name, number, {**carried, **product})
        for number, product in enumerate(products, start=1)
        if isinstance(product, dict)
    ]
    return [event, *items] if items else keep


def item(order: Event, name: str, number: int, properties: dict[str, Any]) -> Event:
    """One product as an event of the same person, at the same time, in the same context."""
    # An id made from the order's: the same product has the same id whenever the order is split again.
    own_id = {"messageId": f"{order['messageId']}/{number}"} if "messageId" in order else {}
    return {**order, **own_id, "event": name, "properties": {**properties, "position": number}}
