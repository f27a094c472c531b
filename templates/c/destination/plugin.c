#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json.h"
#include "plugin.h"

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

// Writes `,"name":value`, where the value is that of the event at `from` or else `otherwise`.
static void field(json_buffer *out, const char *name, json_span event, const char *from, const char *otherwise) {
  json_span value = json_find(event, &from, 1);
  json_puts(out, name);
  if (value.ptr)
    json_put(out, value);
  else
    json_puts(out, otherwise);
}

bool exports_tidegate_plugin_destination_prepare(exports_tidegate_plugin_destination_list_event_json_t *batch,
                                                 exports_tidegate_plugin_destination_plan_t *plan,
                                                 exports_tidegate_plugin_destination_batch_error_t *error) {
  (void)error;
  memset(plan, 0, sizeof *plan);
  plan->skipped.ptr = calloc(batch->len, sizeof *plan->skipped.ptr);
  plan->failed.ptr = calloc(batch->len, sizeof *plan->failed.ptr);
  uint32_t *carried = calloc(batch->len, sizeof *carried);
  size_t carried_len = 0;
  json_buffer body = {0};
  json_puts(&body, "{\"events\":[");
  for (uint32_t i = 0; i < batch->len; i++) {
    json_span event = {(char *)batch->ptr[i].ptr, batch->ptr[i].len};
    const char *type = "type", *user = "userId";
    if (!json_equals(json_find(event, &type, 1), "track")) {
      exports_tidegate_plugin_destination_skipped_t *skipped = &plan->skipped.ptr[plan->skipped.len++];
      skipped->event = i;
      plugin_string_dup(&skipped->reason, "not-tracked");
    } else if (!json_is_string(json_find(event, &user, 1))) {
      exports_tidegate_plugin_destination_failed_t *failed = &plan->failed.ptr[plan->failed.len++];
      const char message[] = "Example knows users by their userId";
      failed->event = i;
      complain(&failed->error, "missing-user", message, sizeof message - 1);
    } else {
      if (carried_len > 0) json_puts(&body, ",");
      field(&body, "{\"id\":", event, "messageId", "null");
      field(&body, ",\"name\":", event, "event", "null");
      field(&body, ",\"user\":", event, "userId", "null");
      field(&body, ",\"at\":", event, "timestamp", "null");
      field(&body, ",\"properties\":", event, "properties", "{}");
      json_puts(&body, "}");
      carried[carried_len++] = i;
    }
  }
  json_puts(&body, "]}");
  if (carried_len > 0) {
    exports_tidegate_plugin_destination_request_t *request = calloc(1, sizeof *request);
    request->method = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_METHOD_POST;
    plugin_string_dup(&request->url, "https://api.example.com/v1/events");
    request->headers.ptr = calloc(1, sizeof *request->headers.ptr);
    request->headers.len = 1;
    plugin_string_dup(&request->headers.ptr[0].f0, "content-type");
    plugin_string_dup(&request->headers.ptr[0].f1, "application/json");
    request->body = (plugin_list_u8_t){(uint8_t *)body.ptr, body.len};
    request->events = (plugin_list_u32_t){carried, carried_len};
    plugin_string_dup(&request->tag, "");
    plan->requests.ptr = request;
    plan->requests.len = 1;
  }
  exports_tidegate_plugin_destination_list_event_json_free(batch);
  return true;
}

// What most APIs mean by their status codes.
void exports_tidegate_plugin_destination_classify(plugin_string_t *tag, plugin_list_u32_t *events,
                                                  exports_tidegate_plugin_destination_response_t *response,
                                                  exports_tidegate_plugin_destination_verdict_t *verdict) {
  (void)tag, (void)events;
  unsigned status = response->status;
  memset(verdict, 0, sizeof *verdict);
  if (status >= 200 && status < 300) {
    verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_DELIVERED;
  } else if (status == 401) {
    verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_REAUTHENTICATE;
  } else if (status == 408 || status == 425 || status == 429 || status >= 500) {
    verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_RETRY;
    for (size_t i = 0; i < response->headers.len; i++) {
      plugin_string_t name = response->headers.ptr[i].f0, value = response->headers.ptr[i].f1;
      if (name.len != 11 || strncasecmp((char *)name.ptr, "retry-after", 11) != 0) continue;
      uint32_t seconds = 0;
      for (size_t at = 0; at < value.len && value.ptr[at] >= '0' && value.ptr[at] <= '9' && seconds < 100000; at++)
        seconds = seconds * 10 + (value.ptr[at] - '0');
      verdict->val.retry = (plugin_option_u32_t){true, seconds * 1000};
    }
  } else {
    char code[16];
    snprintf(code, sizeof code, "http-%u", status);
    verdict->tag = EXPORTS_TIDEGATE_PLUGIN_DESTINATION_VERDICT_REJECTED;
    complain(&verdict->val.rejected, code, (char *)response->body.ptr, response->body.len);
  }
}
