#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json.h"
#include "plugin.h"
#include "tidegate.h"

bool exports_tidegate_plugin_lifecycle_configure(exports_tidegate_plugin_lifecycle_setup_t *setup,
                                                 exports_tidegate_plugin_lifecycle_plugin_error_t *error) {
  (void)setup, (void)error;
  return true;
}

static void complain(exports_tidegate_plugin_destination_plugin_error_t *error, const char *code, const char *message,
                     size_t message_len) {
  error->kind = TIDEGATE_PLUGIN_TYPES_ERROR_KIND_INVALID_EVENT;
  plugin_string_dup(&error->code, code);
  plugin_string_dup_n(&error->message, message, message_len);
}

// Writes `{"name":value` or `,"name":value`; null when there is no value.
static void field(json_buffer *out, const char *name, json_span value) {
  json_puts(out, name);
  if (value.ptr)
    json_put(out, value);
  else
    json_puts(out, "null");
}

// What the API gets of an event.
static void put_record(json_buffer *out, json_span event, json_span user) {
  json_span properties = tidegate_properties(event);
  field(out, "{\"id\":", json_member(event, "messageId"));
  field(out, ",\"name\":", tidegate_name(event));
  json_puts(out, ",\"user\":");
  json_put_string(out, user.ptr, user.len);
  field(out, ",\"at\":", json_member(event, "timestamp"));
  field(out, ",\"properties\":", properties.ptr ? properties : (json_span){"{}", 2});
  json_puts(out, "}");
}

// What one request may hold.
enum { COUNT_MAX = 100, BYTES_MAX = 500000 };

// The requests of a plan while they are made; the last one still grows.
typedef struct {
  exports_tidegate_plugin_destination_plan_t *plan;
  tidegate_chunk chunk;
  json_buffer body;
  exports_tidegate_plugin_destination_request_t *request;
} sending;

// Ends the body of the last request and hands it over.
static void finish(sending *s) {
  if (!s->request) return;
  json_puts(&s->body, "]}");
  s->request->body = (plugin_list_u8_t){(uint8_t *)s->body.ptr, s->body.len};
  s->body = (json_buffer){0};
}

static void begin(sending *s) {
  finish(s);
  exports_tidegate_plugin_destination_request_t *request = s->request = &s->plan->requests.ptr[s->plan->requests.len++];
  request->method = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_METHOD_POST;
  plugin_string_dup(&request->url, "https://api.example.com/v1/events");
  request->headers.ptr = calloc(1, sizeof *request->headers.ptr);
  request->headers.len = 1;
  plugin_string_dup(&request->headers.ptr[0].f0, "content-type");
  plugin_string_dup(&request->headers.ptr[0].f1, "application/json");
  request->events.ptr = calloc(COUNT_MAX, sizeof *request->events.ptr);
  plugin_string_dup(&request->tag, "");
  json_puts(&s->body, "{\"events\":[");
}

static void fail(sending *s, uint32_t event, const char *code, const char *message) {
  exports_tidegate_plugin_destination_failed_t *failed = &s->plan->failed.ptr[s->plan->failed.len++];
  failed->event = event;
  complain(&failed->error, code, message, strlen(message));
}

static void send_record(sending *s, uint32_t event, json_span record) {
  switch (tidegate_chunk_add(&s->chunk, record.len, COUNT_MAX, BYTES_MAX)) {
    case TIDEGATE_TOO_LARGE:
      fail(s, event, "too-large", "Example takes 500 kB in a request");
      return;
    case TIDEGATE_BEGINS:
      begin(s);
      break;
    case TIDEGATE_JOINS:
      json_puts(&s->body, ",");
  }
  json_put(&s->body, record);
  s->request->events.ptr[s->request->events.len++] = event;
}

bool exports_tidegate_plugin_destination_prepare(exports_tidegate_plugin_destination_list_event_json_t *batch,
                                                 exports_tidegate_plugin_destination_plan_t *plan,
                                                 exports_tidegate_plugin_destination_batch_error_t *error) {
  (void)error;
  memset(plan, 0, sizeof *plan);
  sending s = {.plan = plan};
  plan->requests.ptr = calloc(batch->len, sizeof *plan->requests.ptr);
  plan->skipped.ptr = calloc(batch->len, sizeof *plan->skipped.ptr);
  plan->failed.ptr = calloc(batch->len, sizeof *plan->failed.ptr);
  for (uint32_t i = 0; i < batch->len; i++) {
    json_span event = {(char *)batch->ptr[i].ptr, batch->ptr[i].len};
    json_buffer user = {0}, record = {0};
    if (!json_equals(json_member(event, "type"), "track")) {
      exports_tidegate_plugin_destination_skipped_t *skipped = &plan->skipped.ptr[plan->skipped.len++];
      skipped->event = i;
      plugin_string_dup(&skipped->reason, "not-tracked");
    } else if (!tidegate_user_id(event, &user)) {
      fail(&s, i, "missing-user", "Example knows users by their userId");
    } else {
      put_record(&record, event, json_text(&user));
      send_record(&s, i, json_text(&record));
    }
    free(record.ptr);
    free(user.ptr);
  }
  finish(&s);
  exports_tidegate_plugin_destination_list_event_json_free(batch);
  return true;
}

// What most APIs mean by their status codes. The events of a refused request are sent again in halves, so that only the
// one at fault goes to quarantine.
void exports_tidegate_plugin_destination_classify(plugin_string_t *tag, plugin_list_u32_t *events,
                                                  exports_tidegate_plugin_destination_response_t *response,
                                                  exports_tidegate_plugin_destination_verdict_t *verdict) {
  (void)tag, (void)events;
  json_span body = {(char *)response->body.ptr, response->body.len};
  char code[16];
  memset(verdict, 0, sizeof *verdict);
  switch (tidegate_by_status(response->status, body)) {
    case TIDEGATE_DELIVERED:
      verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_DELIVERED;
      break;
    case TIDEGATE_SIGN_IN_AGAIN:
      verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_REAUTHENTICATE;
      break;
    case TIDEGATE_LATER:
      verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_RETRY;
      for (size_t i = 0; i < response->headers.len; i++) {
        plugin_string_t name = response->headers.ptr[i].f0, value = response->headers.ptr[i].f1;
        plugin_option_u32_t *wait = &verdict->val.retry;
        if (name.len == 11 && strncasecmp((char *)name.ptr, "retry-after", 11) == 0)
          wait->is_some = tidegate_retry_after((json_span){(char *)value.ptr, value.len},
                                               (int64_t)tidegate_plugin_host_now_ms(), &wait->val);
      }
      break;
    case TIDEGATE_REFUSED:
      snprintf(code, sizeof code, "http-%u", response->status);
      verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_BISECT;
      complain(&verdict->val.bisect, code, body.ptr, body.len);
  }
}
