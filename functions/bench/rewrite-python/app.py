"""The same edits as `rewrite`: a property renamed, one added."""

from tidegate import Context, Event, Result


def transform(event: Event, context: Context) -> Result:
    properties = event.get("properties")
    if isinstance(properties, dict):
        if "order_id" in properties:
            properties["orderId"] = properties.pop("order_id")
        properties["processed"] = True
    return event
