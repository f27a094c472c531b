"""Money and line items, as the e-commerce specifications of Segment and RudderStack have them."""

import math as _math
import re as _re
from typing import Any, NamedTuple, Optional, Union

from .event import id_text

Number = Union[int, float]

_NUMERIC = _re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", _re.ASCII)
_CURRENCY = _re.compile(r"[A-Za-z]{3}")


def number(value: Any) -> Optional[Number]:
    """A finite number, also one written as text such as " 19.99 "; None for anything else, "19,99" and "$19.99" included."""
    if isinstance(value, str) and _NUMERIC.fullmatch(value.strip()):
        value = value.strip()
        value = int(value) if value.lstrip("+-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if _math.isfinite(value) else None
    except OverflowError:
        return None


def currency(value: Any) -> Optional[str]:
    """Three letters in upper case; None for anything else."""
    return value.strip().upper() if isinstance(value, str) and _CURRENCY.fullmatch(value.strip()) else None


class Money(NamedTuple):
    """An amount, and its currency if the event names one. No currency is ever assumed."""

    amount: Number
    currency: Optional[str]


def money(properties: dict[str, Any], *names: str) -> Optional[Money]:
    """The first of the properties `names` that is an amount, with the `currency` beside it; None when none is."""
    for name in names:
        amount = number(properties.get(name))
        if amount is not None:
            return Money(amount, currency(properties.get("currency")))
    return None


def revenue(properties: dict[str, Any]) -> Optional[Money]:
    """What was earned: `revenue`, else `value`, else `subtotal`, else the sum of price x quantity of the line items.

    `total` comes last, because it holds tax and shipping. None when nothing of these is an amount.
    """
    found = money(properties, "revenue", "value", "subtotal")
    if found is not None:
        return found
    found = items_total(properties)
    return found if found is not None else money(properties, "total")


def items_total(properties: dict[str, Any]) -> Optional[Money]:
    """The sum of price x quantity of the line items that have a price; None when none has."""
    priced = [item.price * item.quantity for item in items(properties).items if item.price is not None]
    # Without the dust of binary fractions: 3 x 19.99 is 59.97.
    amount = number(round(sum(priced), 6)) if priced else None
    return None if amount is None else Money(amount, currency(properties.get("currency")))


class Item(NamedTuple):
    """A line item. What is missing or odd is None; `quantity` is 1 then. `source` is the product as it came."""

    product_id: Optional[str]
    sku: Optional[str]
    name: Optional[str]
    brand: Optional[str]
    category: Optional[str]
    variant: Optional[str]
    price: Optional[Number]
    quantity: Number
    coupon: Optional[str]
    position: Optional[Number]
    url: Optional[str]
    image_url: Optional[str]
    currency: Optional[str]
    source: dict[str, Any]


class Items(NamedTuple):
    """Line items, and how many entries of `products` were no objects and are left out."""

    items: list[Item]
    left_out: int


# Any of these in the properties themselves makes them a product.
_MARKS = ("product_id", "productId", "sku")


def items(properties: dict[str, Any]) -> Items:
    """The line items of `products`, else the one product in the properties themselves."""
    products = properties.get("products")
    if isinstance(products, list):
        found = [product for product in products if isinstance(product, dict)]
        return Items([item(product) for product in found], len(products) - len(found))
    return Items([item(properties)] if any(id_text(properties.get(mark)) for mark in _MARKS) else [], 0)


def item(product: dict[str, Any]) -> Item:
    """One product as a line item."""
    def words(name: str) -> Optional[str]:
        return id_text(product.get(name))

    quantity = number(product.get("quantity"))
    return Item(
        product_id=words("product_id") or words("productId") or words("id"), sku=words("sku"), name=words("name"),
        brand=words("brand"), category=words("category"), variant=words("variant"), price=number(product.get("price")),
        quantity=1 if quantity is None else quantity, coupon=words("coupon"), position=number(product.get("position")),
        url=words("url"), image_url=words("image_url") or words("imageUrl"), currency=currency(product.get("currency")),
        source=product)
