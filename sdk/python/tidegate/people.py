"""Phone numbers and hashed personal data."""

import hashlib as _hashlib
import re as _re
import unicodedata as _unicodedata
from typing import Any, Optional

from .event import id_text

_E164 = _re.compile(r"\+[1-9]\d{7,14}", _re.ASCII)


def phone(value: Any) -> Optional[str]:
    """A phone number as E.164, such as "+15550100200". None when it names no country: none is ever assumed."""
    if not isinstance(value, str):
        return None
    # The zero in "+49 (0) 30" is for calls within the country.
    digits = _re.sub(r"[\s\-.()\[\]]", "", value.replace("(0)", ""))
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    return digits if _E164.fullmatch(digits) else None


_EMAIL = _re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def email(value: Any) -> Optional[str]:
    """An email address without the white space around it; None for anything that is none."""
    found = value.strip() if isinstance(value, str) else ""
    return found if _EMAIL.fullmatch(found) else None


_HASH = _re.compile(r"[0-9a-f]{64}")
_ZIP_PLUS_FOUR = _re.compile(r"(\d{5})[-\u2010-\u2015]\d{4}", _re.ASCII)
_DATE = _re.compile(r"(\d{4})([-/. ]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?:[t ].*)?", _re.ASCII | _re.DOTALL)
_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}


def hashed(value: Any, kind: str) -> Optional[str]:
    """SHA-256 in lower hex of personal data, normalised for its kind.

    The kinds are email, phone (the digits of E.164), name, city, state, zip (letters, digits and the marks on them alone),
    country (two letters), gender (f or m), dob (YYYYMMDD) and id. What is a hash already is not hashed again. None for what is missing, or no email, phone and so on.
    """
    said = (id_text(value) or "").strip().lower()
    if not said or _HASH.fullmatch(said):
        return said or None
    plain = _normalised(said, value, kind)
    return _hashlib.sha256(plain.encode()).hexdigest() if plain else None


def _normalised(said: str, value: Any, kind: str) -> Optional[str]:
    if kind == "email":
        return email(said)
    if kind == "phone":
        found = phone(value)
        return found and found[1:]
    if kind in ("name", "city", "state"):
        return _words(said)
    if kind == "zip":
        nine_digits = _ZIP_PLUS_FOUR.fullmatch(said)
        return nine_digits[1] if nine_digits else _words(said)
    if kind == "country":
        return said if _re.fullmatch(r"[a-z]{2}", said) else None
    if kind == "gender":
        return _GENDERS.get(said)
    if kind == "dob":
        date = _DATE.fullmatch(said)
        return date and date[1] + date[3] + date[4]
    if kind == "id":
        return said
    raise ValueError(f"there is no kind {kind!r}; use email, phone, name, city, state, zip, country, gender, dob or id")


def _words(said: str) -> str:
    """The letters and digits of any script, and the marks on them: no white space, no punctuation, no symbols."""
    return "".join(letter for letter in said if _unicodedata.category(letter)[0] in "LMN")
