#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t skip_space(json_span t, size_t at) {
  while (at < t.len && strchr(" \t\r\n", t.ptr[at])) at++;
  return at;
}

// Past the string that begins at `at`.
static size_t skip_string(json_span t, size_t at) {
  for (at++; at < t.len && t.ptr[at] != '"'; at++)
    if (t.ptr[at] == '\\') at++;
  return at + 1;
}

// Past the value that begins at `at`.
static size_t skip_value(json_span t, size_t at) {
  size_t depth = 0;
  while (at < t.len) {
    char c = t.ptr[at];
    if (c == '"') {
      at = skip_string(t, at);
    } else if (c == '{' || c == '[') {
      depth++, at++;
      continue;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;
      depth--, at++;
    } else if (depth > 0) {
      at++;
      continue;
    } else {
      while (at < t.len && !strchr(",}] \t\r\n", t.ptr[at])) at++;
    }
    if (depth == 0) return at;
  }
  return t.len;
}

// Whether the string `key` says `name`; an escape in a key is rare, and read then.
static bool is_key(json_span key, const char *name, size_t name_len) {
  if (!memchr(key.ptr, '\\', key.len)) return key.len == name_len + 2 && memcmp(key.ptr + 1, name, name_len) == 0;
  json_buffer text = {0};
  json_unescape(&text, key);
  bool same = text.len == name_len && memcmp(text.ptr, name, name_len) == 0;
  free(text.ptr);
  return same;
}

bool json_next_member(json_span object, size_t *at, json_span *key, json_span *value) {
  *at = skip_space(object, *at);
  if (*at >= object.len || (object.ptr[*at] != '{' && object.ptr[*at] != ',')) return false;
  size_t from = skip_space(object, *at + 1);
  if (from >= object.len || object.ptr[from] != '"') return false;
  size_t end = skip_string(object, from);
  if (end > object.len) return false;
  *key = (json_span){object.ptr + from, end - from};
  from = skip_space(object, end);
  if (from >= object.len || object.ptr[from] != ':') return false;
  from = skip_space(object, from + 1);
  *at = skip_value(object, from);
  *value = (json_span){object.ptr + from, *at - from};
  return true;
}

json_span json_member(json_span object, const char *name) {
  size_t at = 0, name_len = strlen(name);
  json_span key, value;
  if (!object.ptr) return (json_span){0};
  while (json_next_member(object, &at, &key, &value))
    if (is_key(key, name, name_len)) return value;
  return (json_span){0};
}

json_span json_find(json_span text, const char *const *path, size_t steps) {
  for (size_t i = 0; i < steps && text.ptr; i++) text = json_member(text, path[i]);
  return text;
}

bool json_next(json_span array, size_t *at, json_span *item) {
  *at = skip_space(array, *at);
  if (*at >= array.len || (array.ptr[*at] != '[' && array.ptr[*at] != ',')) return false;
  size_t from = skip_space(array, *at + 1);
  if (from >= array.len || array.ptr[from] == ']') return false;
  *at = skip_value(array, from);
  *item = (json_span){array.ptr + from, *at - from};
  return true;
}

bool json_is_string(json_span value) { return value.ptr && value.len >= 2 && value.ptr[0] == '"'; }

bool json_is_number(json_span value) {
  return value.ptr && value.len > 0 && (value.ptr[0] == '-' || (value.ptr[0] >= '0' && value.ptr[0] <= '9'));
}

bool json_is_object(json_span value) { return value.ptr && value.len > 0 && value.ptr[0] == '{'; }

bool json_equals(json_span value, const char *text) {
  size_t len = strlen(text);
  return json_is_string(value) && value.len == len + 2 && memcmp(value.ptr + 1, text, len) == 0;
}

static void reserve(json_buffer *out, size_t more) {
  if (out->len + more <= out->capacity) return;
  size_t capacity = out->capacity ? out->capacity * 2 : 256;
  while (capacity < out->len + more) capacity *= 2;
  char *ptr = realloc(out->ptr, capacity);
  if (!ptr) abort();
  out->ptr = ptr;
  out->capacity = capacity;
}

static void put(json_buffer *out, char c) {
  reserve(out, 1);
  out->ptr[out->len++] = c;
}

void json_put(json_buffer *out, json_span raw) {
  reserve(out, raw.len);
  memcpy(out->ptr + out->len, raw.ptr, raw.len);
  out->len += raw.len;
}

void json_puts(json_buffer *out, const char *raw) { json_put(out, (json_span){raw, strlen(raw)}); }

void json_put_string(json_buffer *out, const char *text, size_t len) {
  static const char hex[] = "0123456789abcdef";
  put(out, '"');
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') {
      put(out, '\\');
      put(out, (char)c);
    } else if (c < 0x20) {
      json_puts(out, "\\u00");
      put(out, hex[c >> 4]);
      put(out, hex[c & 15]);
    } else {
      put(out, (char)c);
    }
  }
  put(out, '"');
}

static uint32_t four_digits(const char *at) {
  char digits[5] = {at[0], at[1], at[2], at[3], 0};
  return (uint32_t)strtoul(digits, NULL, 16);
}

static void put_code_point(json_buffer *out, uint32_t c) {
  if (c < 0x80) {
    put(out, (char)c);
  } else if (c < 0x800) {
    put(out, (char)(0xc0 | c >> 6));
    put(out, (char)(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    put(out, (char)(0xe0 | c >> 12));
    put(out, (char)(0x80 | (c >> 6 & 0x3f)));
    put(out, (char)(0x80 | (c & 0x3f)));
  } else {
    put(out, (char)(0xf0 | c >> 18));
    put(out, (char)(0x80 | (c >> 12 & 0x3f)));
    put(out, (char)(0x80 | (c >> 6 & 0x3f)));
    put(out, (char)(0x80 | (c & 0x3f)));
  }
}

void json_unescape(json_buffer *out, json_span string) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (!json_is_string(string)) return;
  const char *at = string.ptr + 1, *end = string.ptr + string.len - 1;
  while (at < end) {
    if (*at != '\\') {
      put(out, *at++);
      continue;
    }
    const char *found = at + 1 < end ? strchr(from, at[1]) : NULL;
    if (found) {
      put(out, to[found - from]);
      at += 2;
    } else if (at + 6 <= end && at[1] == 'u') {
      uint32_t c = four_digits(at + 2);
      at += 6;
      if (c >= 0xd800 && c < 0xdc00 && at + 6 <= end && at[0] == '\\' && at[1] == 'u') {
        c = 0x10000 + ((c - 0xd800) << 10) + (four_digits(at + 2) - 0xdc00);
        at += 6;
      }
      put_code_point(out, c);
    } else {
      at++;
    }
  }
}

json_span json_text(const json_buffer *buffer) { return (json_span){buffer->ptr, buffer->len}; }
