#include "tidegate.h"

#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether a code point is white space, as Unicode has it.
static bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000 ||
         c == 0xfeff;
}

// The code point at `at` of UTF-8 text, and its length in bytes.
static uint32_t code_point(json_span text, size_t at, size_t *len) {
  unsigned char c = (unsigned char)text.ptr[at];
  *len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  if (*len > text.len - at) *len = 1;
  uint32_t point = *len == 1 ? c : c & (0xff >> (*len + 1));
  for (size_t i = 1; i < *len; i++) point = point << 6 | ((unsigned char)text.ptr[at + i] & 0x3f);
  return point;
}

// The text without white space at its ends.
static json_span trimmed(json_span text) {
  size_t from = 0, len, end = 0;
  while (from < text.len && is_space(code_point(text, from, &len))) from += len;
  for (size_t at = from; at < text.len; at += len)
    if (!is_space(code_point(text, at, &len))) end = at + len;
  return (json_span){text.ptr + from, end > from ? end - from : 0};
}

static bool is_blank(json_span text) { return trimmed(text).len == 0; }

// A decimal number: its digits without sign and point, how many of them stand before the point, and its sign.
typedef struct {
  char *digits;
  size_t len;
  long before;
  bool negative;
} decimal;

// Places that a plain number may have; the largest double has 309.
static const long PLACES_MAX = 400;

// Reads a number with sign, point and exponent; the caller frees `digits`.
static bool read_decimal(json_span text, decimal *out) {
  size_t at = 0, digits_seen = 0;
  bool negative = false, point = false;
  if (at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+')) negative = text.ptr[at++] == '-';
  char *digits = malloc(text.len + 1);
  if (!digits) abort();
  size_t len = 0;
  long before = 0;
  for (; at < text.len && (is_digit(text.ptr[at]) || (text.ptr[at] == '.' && !point)); at++) {
    if (text.ptr[at] == '.') {
      point = true;
      continue;
    }
    digits_seen++;
    // Zeros in front say nothing.
    if (len > 0 || text.ptr[at] != '0') {
      digits[len++] = text.ptr[at];
      if (!point) before++;
    } else if (point) {
      before--;
    }
  }
  bool fits = digits_seen > 0;
  if (fits && at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
    bool down = false;
    long exponent = 0;
    size_t from = ++at;
    if (at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+')) down = text.ptr[at++] == '-', from++;
    for (; at < text.len && is_digit(text.ptr[at]); at++)
      if (exponent < 100000) exponent = exponent * 10 + (text.ptr[at] - '0');
    fits = at > from;
    before += down ? -exponent : exponent;
  }
  while (len > 0 && digits[len - 1] == '0') len--;
  if (len == 0) before = 0, negative = false;
  fits = fits && at == text.len && before <= 309;
  if (fits && before < -PLACES_MAX) len = 0, before = 0, negative = false;
  if (!fits) {
    free(digits);
    return false;
  }
  *out = (decimal){digits, len, before, negative};
  return true;
}

static void put_zeros(json_buffer *out, long count) {
  while (count-- > 0) json_puts(out, "0");
}

// Writes a decimal without an exponent.
static void put_decimal(json_buffer *out, const decimal *number) {
  json_span digits = {number->digits, number->len};
  if (number->negative) json_puts(out, "-");
  if (number->before <= 0) {
    json_puts(out, "0");
    if (number->len == 0) return;
    json_puts(out, ".");
    put_zeros(out, -number->before);
    json_put(out, digits);
  } else if ((size_t)number->before >= number->len) {
    json_put(out, digits);
    put_zeros(out, number->before - (long)number->len);
  } else {
    json_put(out, (json_span){digits.ptr, (size_t)number->before});
    json_puts(out, ".");
    json_put(out, (json_span){digits.ptr + number->before, digits.len - (size_t)number->before});
  }
}

static bool put_number(json_span text, json_buffer *out) {
  decimal number;
  if (!read_decimal(text, &number)) return false;
  put_decimal(out, &number);
  free(number.digits);
  return true;
}

bool tidegate_id(json_span value, json_buffer *out) {
  if (json_is_number(value)) return put_number(value, out);
  if (!json_is_string(value)) return false;
  size_t before = out->len;
  json_unescape(out, value);
  if (!is_blank((json_span){out->ptr + before, out->len - before})) return true;
  out->len = before;
  return false;
}

// The text without white space and quotes at its ends.
static json_span bare(json_span text) {
  size_t from = 0, len, end = 0;
  for (size_t at = 0; at < text.len; at += len) {
    uint32_t c = code_point(text, at, &len);
    if (c == '"' || c == '\'' || is_space(c)) continue;
    if (end == 0) from = at;
    end = at + len;
  }
  return (json_span){text.ptr + from, end - from};
}

static bool equals_in_any_case(json_span text, const char *lower) {
  if (text.len != strlen(lower)) return false;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i]) return false;
  }
  return true;
}

bool tidegate_somebody(json_span value, json_buffer *out) {
  // Source: https://posthog.com/docs/data/identify, and Python's word for none.
  static const char *const nobody[] = {"", "undefined", "null", "none", "nan", "[object object]", "0", "true", "false",
                                       "anonymous", "guest", "id", "distinctid", "distinct_id", "email",
                                       "not_authenticated"};
  size_t before = out->len;
  if (!tidegate_id(value, out)) return false;
  json_span said = bare((json_span){out->ptr + before, out->len - before});
  for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
    if (!equals_in_any_case(said, nobody[i])) continue;
    out->len = before;
    return false;
  }
  return true;
}

bool tidegate_user_id(json_span event, json_buffer *out) { return tidegate_id(json_member(event, "userId"), out); }
bool tidegate_anonymous_id(json_span event, json_buffer *out) {
  return tidegate_id(json_member(event, "anonymousId"), out);
}
bool tidegate_group_id(json_span event, json_buffer *out) { return tidegate_id(json_member(event, "groupId"), out); }
bool tidegate_previous_id(json_span event, json_buffer *out) {
  return tidegate_id(json_member(event, "previousId"), out);
}
bool tidegate_message_id(json_span event, json_buffer *out) {
  return tidegate_id(json_member(event, "messageId"), out);
}

bool tidegate_user(json_span event, json_buffer *out) {
  return tidegate_user_id(event, out) || tidegate_anonymous_id(event, out);
}

// A value as it is; nothing for null and for blank text.
static json_span said(json_span value) {
  json_buffer text = {0};
  bool nothing = !value.ptr || (value.len == 4 && memcmp(value.ptr, "null", 4) == 0);
  if (json_is_string(value)) {
    json_unescape(&text, value);
    nothing = is_blank(json_text(&text));
    free(text.ptr);
  }
  return nothing ? (json_span){0} : value;
}

json_span tidegate_name(json_span event) {
  json_span type = json_member(event, "type"), value = {0};
  if (json_equals(type, "track"))
    value = json_member(event, "event");
  else if (json_equals(type, "page") || json_equals(type, "screen"))
    value = json_member(event, "name");
  return json_is_string(value) ? said(value) : (json_span){0};
}

json_span tidegate_context(json_span event, const char *const *path, size_t steps) {
  return said(json_find(json_member(event, "context"), path, steps));
}

json_span tidegate_trait(json_span event, const char *name) {
  json_span own = json_member(json_member(event, "traits"), name);
  if (own.ptr) return own;
  return json_find(event, (const char *[]){"context", "traits", name}, 3);
}

json_span tidegate_properties(json_span event) {
  json_span found = json_member(event, "properties");
  return json_is_object(found) ? found : (json_span){0};
}

// Reads exactly `count` digits.
static bool digits_at(json_span text, size_t at, size_t count, int *out) {
  if (at + count > text.len) return false;
  *out = 0;
  for (size_t i = at; i < at + count; i++) {
    if (!is_digit(text.ptr[i])) return false;
    *out = *out * 10 + (text.ptr[i] - '0');
  }
  return true;
}

static bool char_at(json_span text, size_t at, const char *any_of) {
  return at < text.len && text.ptr[at] && strchr(any_of, text.ptr[at]);
}

// Days from 1970-01-01 to a date of the Gregorian calendar; false when there is no such day.
static bool days_of(int year, int month, int day, int64_t *days) {
  static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > lengths[month - 1] + (leap && month == 2)) return false;
  int64_t before = year - 1;
  *days = before * 365 + before / 4 - before / 100 + before / 400 - 719162 + day - 1;
  for (int m = 1; m < month; m++) *days += lengths[m - 1] + (leap && m == 2);
  return true;
}

static bool read_instant(json_span t, int64_t *ms) {
  int year, month, day, hour, minute, second, offset_hour = 0, offset_minute = 0, fraction = 0, scale = 100;
  int64_t days;
  if (!digits_at(t, 0, 4, &year) || !char_at(t, 4, "-") || !digits_at(t, 5, 2, &month) || !char_at(t, 7, "-") ||
      !digits_at(t, 8, 2, &day) || !char_at(t, 10, "Tt ") || !digits_at(t, 11, 2, &hour) || !char_at(t, 13, ":") ||
      !digits_at(t, 14, 2, &minute) || !char_at(t, 16, ":") || !digits_at(t, 17, 2, &second) ||
      !days_of(year, month, day, &days) || hour > 23 || minute > 59 || second > 59)
    return false;
  size_t at = 19;
  if (char_at(t, at, ".")) {
    size_t from = ++at;
    for (; at < t.len && is_digit(t.ptr[at]); at++, scale /= 10) fraction += (t.ptr[at] - '0') * scale;
    if (at == from) return false;
  }
  int sign = char_at(t, at, "-") ? -1 : 1;
  if (char_at(t, at, "+-")) {
    if (!digits_at(t, at + 1, 2, &offset_hour) || !char_at(t, at + 3, ":") || !digits_at(t, at + 4, 2, &offset_minute) ||
        offset_hour > 23 || offset_minute > 59)
      return false;
    at += 6;
  } else if (char_at(t, at, "Zz")) {
    at++;
  } else {
    return false;
  }
  int64_t seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
  *ms = (seconds - sign * (offset_hour * 60 + offset_minute) * 60) * 1000 + fraction;
  return at == t.len;
}

bool tidegate_instant(json_span value, int64_t *ms) {
  if (!json_is_string(value)) return false;
  json_buffer text = {0};
  json_unescape(&text, value);
  bool found = read_instant(json_text(&text), ms);
  free(text.ptr);
  return found;
}

bool tidegate_time(json_span event, int64_t *ms) { return tidegate_instant(json_member(event, "timestamp"), ms); }

bool tidegate_number(json_span value, json_buffer *out) {
  if (json_is_number(value)) return put_number(value, out);
  if (!json_is_string(value)) return false;
  json_buffer text = {0};
  json_unescape(&text, value);
  bool found = put_number(trimmed(json_text(&text)), out);
  free(text.ptr);
  return found;
}

bool tidegate_currency(json_span value, char out[4]) {
  json_buffer text = {0};
  json_unescape(&text, value);
  json_span letters = trimmed(json_text(&text));
  bool found = letters.len == 3;
  memset(out, 0, 4);
  for (size_t i = 0; found && i < 3; i++) {
    char c = letters.ptr[i];
    found = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    out[i] = (char)(c >= 'a' ? c - 32 : c);
  }
  if (!found) out[0] = 0;
  free(text.ptr);
  return found;
}

bool tidegate_money(json_span properties, const char *const *names, size_t names_len, json_buffer *amount,
                    char currency[4]) {
  tidegate_currency(json_member(properties, "currency"), currency);
  for (size_t i = 0; i < names_len; i++)
    if (tidegate_number(json_member(properties, names[i]), amount)) return true;
  return false;
}

bool tidegate_phone(json_span value, json_buffer *out) {
  json_buffer text = {0}, digits = {0};
  json_unescape(&text, value);
  json_span t = json_text(&text);
  size_t len;
  for (size_t at = 0; at < t.len; at += len) {
    // The zero in "+49 (0) 30" is for calls within the country.
    if (at + 3 <= t.len && memcmp(t.ptr + at, "(0)", 3) == 0) {
      len = 3;
      continue;
    }
    uint32_t c = code_point(t, at, &len);
    if (!is_space(c) && !(c < 0x80 && c && strchr("-.()[]", (int)c))) json_put(&digits, (json_span){t.ptr + at, len});
  }
  json_span d = json_text(&digits);
  size_t from = d.len > 0 && d.ptr[0] == '+' ? 1 : d.len > 1 && memcmp(d.ptr, "00", 2) == 0 ? 2 : 0;
  size_t count = d.len - from;
  bool found = from > 0 && count >= 8 && count <= 15 && d.ptr[from] != '0';
  for (size_t at = from; at < d.len; at++) found = found && is_digit(d.ptr[at]);
  if (found) {
    json_puts(out, "+");
    json_put(out, (json_span){d.ptr + from, count});
  }
  free(text.ptr);
  free(digits.ptr);
  return found;
}

tidegate_place tidegate_chunk_add(tidegate_chunk *chunk, size_t bytes, size_t count_max, size_t bytes_max) {
  if (bytes > bytes_max) return TIDEGATE_TOO_LARGE;
  bool joins = chunk->count > 0 && chunk->count < count_max && chunk->bytes < bytes_max - bytes;
  *chunk = joins ? (tidegate_chunk){chunk->count + 1, chunk->bytes + 1 + bytes} : (tidegate_chunk){1, bytes};
  return joins ? TIDEGATE_JOINS : TIDEGATE_BEGINS;
}

tidegate_meaning tidegate_by_status(unsigned status, json_span body) {
  if (status >= 200 && status < 300) return TIDEGATE_DELIVERED;
  if (status == 401) return TIDEGATE_SIGN_IN_AGAIN;
  bool later = status == 408 || status == 423 || status == 425 || status == 429 || status >= 500;
  bool of_proxy = (status == 403 || status == 404) && !json_is_object(trimmed(body));
  return later || of_proxy ? TIDEGATE_LATER : TIDEGATE_REFUSED;
}

// "Sun, 06 Nov 1994 08:49:37 GMT" as Unix seconds.
static bool read_http_date(json_span t, int64_t *seconds) {
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  int day, year, hour, minute, second, month = 0;
  int64_t days;
  if (t.len != 29 || memcmp(t.ptr + 25, " GMT", 4) != 0 || !digits_at(t, 5, 2, &day) || !digits_at(t, 12, 4, &year) ||
      !digits_at(t, 17, 2, &hour) || !digits_at(t, 20, 2, &minute) || !digits_at(t, 23, 2, &second))
    return false;
  while (month < 12 && memcmp(months + month * 3, t.ptr + 8, 3) != 0) month++;
  if (month == 12 || !days_of(year, month + 1, day, &days)) return false;
  *seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
  return true;
}

bool tidegate_retry_after(json_span header, int64_t now_ms, uint32_t *ms) {
  json_span t = trimmed(header);
  int64_t wait = 0;
  size_t at = 0;
  for (; at < t.len && is_digit(t.ptr[at]); at++)
    if (wait < UINT32_MAX) wait = wait * 10 + (t.ptr[at] - '0');
  if (t.len == 0 || at < t.len) {
    int64_t seconds;
    if (!read_http_date(t, &seconds)) return false;
    wait = seconds * 1000 - now_ms;
  } else {
    wait *= 1000;
  }
  *ms = wait < 0 ? 0 : wait > UINT32_MAX ? UINT32_MAX : (uint32_t)wait;
  return true;
}
