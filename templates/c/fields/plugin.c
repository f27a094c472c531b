#include <ctype.h>
#include <string.h>

#include "json.h"
#include "plugin.h"

// Made by `configure`, which comes before anything else: a path is parsed once.
static tidegate_plugin_fields_own_path_t emails[2];
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
  static const char *const pointers[2] = {"/properties/email", "/traits/email"};
  for (int i = 0; i < 2; i++) {
    plugin_string_t pointer;
    plugin_string_set(&pointer, pointers[i]);
    emails[i] = tidegate_plugin_fields_constructor_path(&pointer);
  }
  return true;
}

static void edit(uint32_t event, tidegate_plugin_fields_borrow_path_t at) {
  plugin_string_t email;
  if (!tidegate_plugin_fields_method_path_get_string(at, event, &email)) return;
  bool changed = false;
  for (size_t i = 0; i < email.len; i++) {
    int lower = tolower(email.ptr[i]);
    changed |= lower != email.ptr[i];
    email.ptr[i] = (uint8_t)lower;
  }
  size_t suffix = staff_suffix.len;
  plugin_string_t text, code, reason;
  if (email.len >= suffix && memcmp(email.ptr + email.len - suffix, staff_suffix.ptr, suffix) == 0) {
    plugin_string_set(&text, "staff");
    tidegate_plugin_fields_drop_event(event, &text);
  } else if (changed && !tidegate_plugin_fields_method_path_set_string(at, event, &email, &reason)) {
    plugin_string_set(&code, "not-set");
    tidegate_plugin_fields_fail_event(event, &code, &reason);
    plugin_string_free(&reason);
  }
  plugin_string_free(&email);
}

bool exports_tidegate_plugin_field_transformer_transform(
    uint32_t events, exports_tidegate_plugin_field_transformer_batch_error_t *error) {
  (void)error;
  for (uint32_t event = 0; event < events; event++)
    for (int i = 0; i < 2; i++) edit(event, tidegate_plugin_fields_borrow_path(emails[i]));
  return true;
}
