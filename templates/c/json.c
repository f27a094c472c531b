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

static json_span member(json_span object, const char *name) {
  size_t at = skip_space(object, 0), name_len = strlen(name);
  if (at >= object.len || object.ptr[at] != '{') return (json_span){0};
  at++;
  for (;;) {
    at = skip_space(object, at);
    if (at >= object.len || object.ptr[at] != '"') return (json_span){0};
    size_t key = at + 1, end = skip_string(object, at);
    if (end > object.len) return (json_span){0};
    size_t key_len = end - 1 - key;
    at = skip_space(object, end);
    if (at >= object.len || object.ptr[at] != ':') return (json_span){0};
    at = skip_space(object, at + 1);
    size_t past = skip_value(object, at);
    if (key_len == name_len && memcmp(object.ptr + key, name, name_len) == 0)
      return (json_span){object.ptr + at, past - at};
    at = skip_space(object, past);
    if (at >= object.len || object.ptr[at] != ',') return (json_span){0};
    at++;
  }
}

json_span json_find(json_span text, const char *const *path, size_t steps) {
  for (size_t i = 0; i < steps && text.ptr; i++) text = member(text, path[i]);
  return text;
}

bool json_is_string(json_span value) { return value.ptr && value.len >= 2 && value.ptr[0] == '"'; }

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
