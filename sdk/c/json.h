// As much of JSON as a plugin needs: find a value in a text, read it, write a new text. No tree is built.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

// Part of a text; `ptr` is null when there is nothing.
typedef struct {
  const char *ptr;
  size_t len;
} json_span;

// A text that grows.
typedef struct {
  char *ptr;
  size_t len, capacity;
} json_buffer;

// The value at a path of member names, such as "properties", "email"; nothing when it is not there.
json_span json_find(json_span text, const char *const *path, size_t steps);

// The value of the member `name`; nothing when `object` is none or lacks it.
json_span json_member(json_span object, const char *name);

// The next item of an array: begin with `at` 0. False after the last one, and when `array` is none.
bool json_next(json_span array, size_t *at, json_span *item);

// The next member of an object, its name as a JSON string; otherwise like json_next.
bool json_next_member(json_span object, size_t *at, json_span *name, json_span *value);

// Whether the value is a string, and whether it is the string `text`; whether it is a number; whether it is an object.
bool json_is_string(json_span value);
bool json_equals(json_span value, const char *text);
bool json_is_number(json_span value);
bool json_is_object(json_span value);

// Appends what a string says (without quotes and escapes), raw text, or a string with its quotes and escapes.
void json_unescape(json_buffer *out, json_span string);
void json_put(json_buffer *out, json_span raw);
void json_puts(json_buffer *out, const char *raw);
void json_put_string(json_buffer *out, const char *text, size_t len);

// What the buffer holds.
json_span json_text(const json_buffer *buffer);

#endif
