#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "plugin.h"

typedef exports_tidegate_plugin_transformer_outcome_t outcome_t;

// "@" and the domain of our staff; set by `configure`, which comes before anything else.
static json_buffer staff_suffix;

bool exports_tidegate_plugin_lifecycle_configure(exports_tidegate_plugin_lifecycle_setup_t *setup,
                                                 exports_tidegate_plugin_lifecycle_plugin_error_t *error) {
  json_span settings = {(char *)setup->settings_json.ptr, setup->settings_json.len};
  json_span domain = json_find(settings, (const char *[]){"staff_domain"}, 1);
  if (!json_is_string(domain)) {
    error->kind = TIDEGATE_PLUGIN_TYPES_ERROR_KIND_INVALID_CONFIG;
    plugin_string_dup(&error->code, "settings");
    plugin_string_dup(&error->message, "staff_domain is missing");
    return false;
  }
  json_puts(&staff_suffix, "@");
  json_unescape(&staff_suffix, domain);
  return true;
}

static outcome_t outcome(json_span event) {
  outcome_t keep = {.tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORMER_OUTCOME_KEEP};
  json_span found = json_find(event, (const char *[]){"properties", "email"}, 2);
  if (!json_is_string(found)) found = json_find(event, (const char *[]){"traits", "email"}, 2);
  if (!json_is_string(found)) return keep;

  json_buffer email = {0};
  json_unescape(&email, found);
  bool changed = false;
  for (size_t i = 0; i < email.len; i++) {
    int lower = tolower((unsigned char)email.ptr[i]);
    changed |= lower != (unsigned char)email.ptr[i];
    email.ptr[i] = (char)lower;
  }
  outcome_t made = keep;
  size_t suffix = staff_suffix.len;
  if (email.len >= suffix && memcmp(email.ptr + email.len - suffix, staff_suffix.ptr, suffix) == 0) {
    made.tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORMER_OUTCOME_DROP;
    plugin_string_dup(&made.val.drop, "staff");
  } else if (changed) {
    // The event as it was, with another text in the place of the address.
    json_buffer text = {0};
    json_put(&text, (json_span){event.ptr, (size_t)(found.ptr - event.ptr)});
    json_put_string(&text, email.ptr, email.len);
    json_put(&text, (json_span){found.ptr + found.len, event.len - (size_t)(found.ptr + found.len - event.ptr)});
    made.tag = EXPORTS_TIDEGATE_PLUGIN_TRANSFORMER_OUTCOME_REPLACE;
    made.val.replace = (plugin_string_t){(uint8_t *)text.ptr, text.len};
  }
  free(email.ptr);
  return made;
}

bool exports_tidegate_plugin_transformer_transform(exports_tidegate_plugin_transformer_list_event_json_t *batch,
                                                   exports_tidegate_plugin_transformer_list_outcome_t *made,
                                                   exports_tidegate_plugin_transformer_batch_error_t *error) {
  (void)error;
  made->len = batch->len;
  made->ptr = calloc(batch->len, sizeof(outcome_t));
  for (size_t i = 0; i < batch->len; i++)
    made->ptr[i] = outcome((json_span){(char *)batch->ptr[i].ptr, batch->ptr[i].len});
  exports_tidegate_plugin_transformer_list_event_json_free(batch);
  return true;
}
