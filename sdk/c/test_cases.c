// Runs the cases that all languages share, as far as they concern C.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "tidegate.h"

static int failures, checks;

static bool same(json_span a, json_span b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }

static bool is_null(json_span value) { return value.len == 4 && memcmp(value.ptr, "null", 4) == 0; }

// Compares what a reader wrote with the JSON string or the null that is wanted.
static bool is_text(bool found, const json_buffer *text, json_span wanted) {
  json_buffer plain = {0};
  json_unescape(&plain, wanted);
  bool fits = is_null(wanted) ? !found && text->len == 0 : found && same(json_text(text), json_text(&plain));
  free(plain.ptr);
  return fits;
}

static double number_of(json_span text) {
  char digits[512] = {0};
  memcpy(digits, text.ptr, text.len < sizeof digits ? text.len : sizeof digits - 1);
  return strtod(digits, NULL);
}

static bool is_number(bool found, const json_buffer *text, json_span wanted) {
  if (is_null(wanted)) return !found && text->len == 0;
  return found && number_of(json_text(text)) == number_of(wanted);
}

typedef bool reader(json_span, json_buffer *);

static bool ids(json_span in, json_span out) {
  static const struct {
    const char *name;
    reader *read;
  } readers[] = {{"user_id", tidegate_user_id},       {"anonymous_id", tidegate_anonymous_id}, {"group_id", tidegate_group_id},
                 {"previous_id", tidegate_previous_id}, {"message_id", tidegate_message_id},     {"user", tidegate_user}};
  bool fits = true;
  for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
    json_span wanted = json_member(out, readers[i].name);
    json_buffer text = {0};
    if (wanted.ptr) fits = fits && is_text(readers[i].read(in, &text), &text, wanted);
    free(text.ptr);
  }
  return fits;
}

static bool times(json_span in, json_span out) {
  int64_t ms = 0;
  bool found = tidegate_instant(in, &ms);
  return is_null(out) ? !found : found && (double)ms == number_of(json_member(out, "ms"));
}

// The value at a path such as "page.url" of the context.
static json_span at_path(json_span event, json_span path) {
  char text[128] = {0};
  const char *steps[8];
  size_t count = 0;
  memcpy(text, path.ptr + 1, path.len - 2);
  for (char *step = strtok(text, "."); step; step = strtok(NULL, ".")) steps[count++] = step;
  return tidegate_context(event, steps, count);
}

static bool is_span(json_span found, json_span wanted) { return is_null(wanted) ? !found.ptr || is_null(found) : same(found, wanted); }

static bool traits(json_span in, json_span out) {
  bool fits = true;
  size_t at = 0;
  json_span key, wanted, name = json_member(out, "name"), properties = json_member(out, "properties");
  if (name.ptr) fits = is_span(tidegate_name(in), name);
  if (properties.ptr) {
    json_span found = tidegate_properties(in);
    fits = fits && (found.ptr ? same(found, properties) : properties.len == 2);
  }
  while (json_next_member(json_member(out, "context"), &at, &key, &wanted)) fits = fits && is_span(at_path(in, key), wanted);
  for (at = 0; json_next_member(json_member(out, "traits"), &at, &key, &wanted);) {
    char trait[64] = {0};
    memcpy(trait, key.ptr + 1, key.len - 2);
    fits = fits && is_span(tidegate_trait(in, trait), wanted);
  }
  return fits;
}

static bool money(json_span in, json_span out) {
  json_span call = json_member(in, "call"), value = json_member(in, "value"), name;
  json_buffer text = {0};
  char currency[4], names[4][32] = {{0}};
  const char *wanted_names[4];
  bool fits = true;
  if (json_equals(call, "number")) {
    fits = is_number(tidegate_number(value, &text), &text, out);
  } else if (json_equals(call, "currency")) {
    bool found = tidegate_currency(value, currency);
    fits = found ? json_equals(out, currency) : is_null(out) && currency[0] == 0;
  } else if (json_equals(call, "money")) {
    size_t count = 0, at = 0;
    for (; json_next(json_member(in, "names"), &at, &name); count++) {
      memcpy(names[count], name.ptr + 1, name.len - 2);
      wanted_names[count] = names[count];
    }
    bool found = tidegate_money(json_member(in, "properties"), wanted_names, count, &text, currency);
    json_span wanted = json_member(out, "currency");
    fits = is_number(found, &text, found ? json_member(out, "amount") : out) &&
           (!found || (currency[0] ? json_equals(wanted, currency) : is_null(wanted)));
  } else {
    // Both are made of line items.
    fits = json_equals(call, "revenue") || json_equals(call, "items_total");
  }
  free(text.ptr);
  return fits;
}

static bool nobody(json_span in, json_span out) {
  json_buffer text = {0};
  bool fits = is_text(tidegate_somebody(in, &text), &text, out);
  free(text.ptr);
  return fits;
}

static bool chunks(json_span in, json_span out) {
  size_t count_max = (size_t)number_of(json_member(in, "count_max")), bytes_max = (size_t)number_of(json_member(in, "bytes_max"));
  json_buffer made = {0}, too_large = {0};
  tidegate_chunk chunk = {0};
  json_span record;
  char place[16];
  json_puts(&made, "[");
  json_puts(&too_large, "[");
  for (size_t at = 0, n = 0; json_next(json_member(in, "records"), &at, &record); n++) {
    snprintf(place, sizeof place, "%zu", n);
    tidegate_place where = tidegate_chunk_add(&chunk, record.len, count_max, bytes_max);
    json_buffer *list = where == TIDEGATE_TOO_LARGE ? &too_large : &made;
    if (where == TIDEGATE_BEGINS)
      json_puts(list, list->len > 1 ? "],[" : "[");
    else if (list->len > 1)
      json_puts(list, ",");
    json_puts(list, place);
  }
  json_puts(&made, made.len > 1 ? "]]" : "]");
  json_puts(&too_large, "]");
  bool fits = same(json_text(&made), json_member(out, "chunks")) && same(json_text(&too_large), json_member(out, "too_large"));
  free(made.ptr);
  free(too_large.ptr);
  return fits;
}

static bool phones(json_span in, json_span out) {
  json_buffer text = {0};
  bool fits = is_text(tidegate_phone(in, &text), &text, out);
  free(text.ptr);
  return fits;
}

static bool verdicts(json_span in, json_span out) {
  json_buffer body = {0}, header = {0};
  json_span retry_after = json_member(json_member(in, "headers"), "retry-after");
  json_unescape(&body, json_member(in, "body"));
  json_unescape(&header, retry_after);
  tidegate_meaning meaning = tidegate_by_status((unsigned)number_of(json_member(in, "status")), json_text(&body));
  bool fits = false;
  if (meaning == TIDEGATE_DELIVERED) fits = json_equals(out, "delivered");
  if (meaning == TIDEGATE_SIGN_IN_AGAIN) fits = json_equals(out, "reauthenticate");
  if (meaning == TIDEGATE_REFUSED) fits = json_member(out, "bisect").ptr != NULL;
  if (meaning == TIDEGATE_LATER) {
    uint32_t ms = 0;
    json_span wanted = json_member(out, "retry");
    bool says = tidegate_retry_after(json_text(&header), (int64_t)number_of(json_member(in, "now_ms")), &ms);
    fits = wanted.ptr && (is_null(wanted) ? !says : says && (double)ms == number_of(wanted));
  }
  free(body.ptr);
  free(header.ptr);
  return fits;
}

static void run(const char *path, const char *file, bool (*check)(json_span, json_span)) {
  static char text[1 << 20];
  FILE *opened = fopen(path, "rb");
  json_span cases = {text, opened ? fread(text, 1, sizeof text, opened) : 0}, one;
  if (opened) fclose(opened);
  int before = checks;
  for (size_t at = 0; json_next(cases, &at, &one); checks++) {
    json_span name = json_member(one, "name");
    if (check(json_member(one, "in"), json_member(one, "out"))) continue;
    printf("%s: %.*s\n", file, (int)name.len, name.ptr);
    failures++;
  }
  if (checks == before) {
    printf("%s holds no cases\n", path);
    failures++;
  }
}

static void proxies(void) {
  static const char *const pages[] = {"<html>403 Forbidden</html>", "", "\"no\"", "null"};
  bool fits = tidegate_by_status(403, (json_span){"{\"error\":1}", 11}) == TIDEGATE_REFUSED;
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    fits = fits && tidegate_by_status(403, (json_span){pages[i], strlen(pages[i])}) == TIDEGATE_LATER;
  checks++;
  if (fits) return;
  printf("a 403 of a proxy is not tried later\n");
  failures++;
}

// A file of cases without a test is what C does not have: README.md says why.
static const struct {
  const char *file;
  bool (*check)(json_span in, json_span out);
} files[] = {{"ids", ids},       {"nobody", nobody}, {"times", times},       {"traits", traits}, {"money", money}, {"phones", phones},
             {"chunks", chunks}, {"verdicts", verdicts}, {"items", NULL},   {"hashes", NULL}};

// The arguments are the paths of all files of cases.
int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) {
    const char *slash = strrchr(arguments[i], '/'), *name = slash ? slash + 1 : arguments[i];
    size_t at = 0, len = strcspn(name, ".");
    while (at < sizeof files / sizeof *files && (strlen(files[at].file) != len || strncmp(files[at].file, name, len) != 0)) at++;
    if (at == sizeof files / sizeof *files) {
      printf("%s: there is no test for it\n", name);
      failures++;
    } else if (files[at].check) {
      run(arguments[i], files[at].file, files[at].check);
    }
  }
  proxies();
  printf("%d cases, %d failed\n", checks, failures);
  return failures > 0 || count == 1;
}
