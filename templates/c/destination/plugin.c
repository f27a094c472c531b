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
    json_buffer user = {0};
    if (!json_equals(json_member(event, "type"), "track")) {
      exports_tidegate_plugin_destination_skipped_t *skipped = &plan->skipped.ptr[plan->skipped.len++];
      skipped->event = i;
      plugin_string_dup(&skipped->reason, "not-tracked");
    } else if (!tidegate_user_id(event, &user)) {
      exports_tidegate_plugin_destination_failed_t *failed = &plan->failed.ptr[plan->failed.len++];
      const char message[] = "Example knows users by their userId";
      failed->event = i;
      complain(&failed->error, "missing-user", message, sizeof message - 1);
    } else {
      json_span properties = tidegate_properties(event);
      if (carried_len > 0) json_puts(&body, ",");
      field(&body, "{\"id\":", json_member(event, "messageId"));
      field(&body, ",\"name\":", tidegate_name(event));
      json_puts(&body, ",\"user\":");
      json_put_string(&body, user.ptr, user.len);
      field(&body, ",\"at\":", json_member(event, "timestamp"));
      field(&body, ",\"properties\":", properties.ptr ? properties : (json_span){"{}", 2});
      json_puts(&body, "}");
      carried[carried_len++] = i;
    }
    free(user.ptr);
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
