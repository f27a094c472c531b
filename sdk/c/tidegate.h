// What an event says: who, when, what, how much. Clients send what they like, so each reader says whether it found
// anything. Texts are appended to a json_buffer of the caller, who frees its `ptr`; a reader that finds nothing
// leaves the buffer as it was.
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

// An id as text: text that is not blank as it is, a number by its digits. False for anything else.
bool tidegate_id(json_span value, json_buffer *out);

// The same, but false for what code writes where it has nobody, such as "undefined", "[object Object]", 0 or "Guest", in any
// case and also in quotes: a tool would make one person of all who have such an id.
bool tidegate_somebody(json_span value, json_buffer *out);

// `userId` and so on of an event, as text.
bool tidegate_user_id(json_span event, json_buffer *out);
bool tidegate_anonymous_id(json_span event, json_buffer *out);
bool tidegate_group_id(json_span event, json_buffer *out);
bool tidegate_previous_id(json_span event, json_buffer *out);
bool tidegate_message_id(json_span event, json_buffer *out);

// By what a tool knows somebody: the user id, else the anonymous id.
bool tidegate_user(json_span event, json_buffer *out);

// What happened: the `event` of a track, the `name` of a page or screen, as a JSON string; nothing for all else.
json_span tidegate_name(json_span event);

// What stands in `context` at a path of member names; nothing for null and for blank text.
json_span tidegate_context(json_span event, const char *const *path, size_t steps);

// A trait of the event itself, else of `context.traits`; nothing when neither has it.
json_span tidegate_trait(json_span event, const char *name);

// The object `properties` of an event; nothing when they are none.
json_span tidegate_properties(json_span event);

// Unix milliseconds of an instant in RFC 3339, and of the `timestamp` of an event.
bool tidegate_instant(json_span value, int64_t *ms);
bool tidegate_time(json_span event, int64_t *ms);

// A finite number, also one written as text such as " 19.99 ", by its digits as a JSON number. Not "19,99", not "$19.99".
bool tidegate_number(json_span value, json_buffer *out);

// Three letters in upper case. No currency is ever assumed.
bool tidegate_currency(json_span value, char out[4]);

// The first of the `names` in `properties` that is an amount, as a JSON number, and the `currency` beside it, which is empty
// when there is none.
bool tidegate_money(json_span properties, const char *const *names, size_t names_len, json_buffer *amount,
                    char currency[4]);

// A phone number as E.164, such as "+15550100200". False when it names no country: none is ever assumed.
bool tidegate_phone(json_span value, json_buffer *out);

// How many records a request holds so far, and their bytes with one between them; begin with zeros.
typedef struct {
  size_t count, bytes;
} tidegate_chunk;

// Where a record of so many bytes belongs when a request may hold `count_max` records and `bytes_max` bytes of them.
typedef enum {
  TIDEGATE_JOINS,     // to the records before it
  TIDEGATE_BEGINS,    // to a request of its own and those that follow; so does the first
  TIDEGATE_TOO_LARGE  // to none: fail its event with the code `too-large`
} tidegate_place;
tidegate_place tidegate_chunk_add(tidegate_chunk *chunk, size_t bytes, size_t count_max, size_t bytes_max);

// What the status of an answer says about its request.
typedef enum {
  TIDEGATE_DELIVERED,      // 2xx
  TIDEGATE_SIGN_IN_AGAIN,  // 401
  TIDEGATE_LATER,          // 408, 423, 425, 429, 5xx, and a 403 or 404 of a proxy on the way: its body is no JSON object
  TIDEGATE_REFUSED         // all else
} tidegate_meaning;
tidegate_meaning tidegate_by_status(unsigned status, json_span body);

// Milliseconds that `Retry-After` asks to wait, given as seconds or as a date; `now_ms` is Unix time.
bool tidegate_retry_after(json_span header, int64_t now_ms, uint32_t *ms);

#endif
