/* command_check_data.c: numbers, tensors and keys of a file of recorded data. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/command_check.h"

static json_t *not_null(json_t *value) { return json_is_null(value) ? NULL : value; }

json_t *check_key(json_t *object, const char *path) {
  json_t *whole = json_object_get(object, path);
  if (whole) return not_null(whole);
  json_t *at = object;
  for (const char *s = path; *s;) {
    if (*s == '[') {
      char *end;
      long index = strtol(s + 1, &end, 10);
      if (*end != ']' || index < 0) return NULL;
      at = json_array_get(at, (size_t)index);
      s = end + 1;
    } else {
      if (*s == '.') s++;
      char key[128];
      size_t n = strcspn(s, ".[");
      if (!n || n >= sizeof key) return NULL;
      memcpy(key, s, n);
      key[n] = 0;
      at = json_object_get(at, key);
      s += n;
    }
    if (!at) return NULL;
  }
  return not_null(at);
}

/* `external` with the values of hyper-parameters, and of numbers of the call, for "{name}". */
static void insert_hypers(const Check *c, const char *external, char *out, size_t size) {
  size_t n = 0;
  for (const char *s = external; *s && n + 1 < size; s++) {
    size_t length = *s == '{' ? strcspn(s + 1, "}") : 0;
    int found = -1;
    for (int i = 0; *s == '{' && s[length + 1] && i < c->n_hypers; i++)
      if (strlen(c->hypers[i].name) == length && !memcmp(c->hypers[i].name, s + 1, length)) found = i;
    double value = found < 0 ? 0 : c->hyper_values[found];
    for (int k = 0; *s == '{' && found < 0 && c->globals && s[length + 1] && k < c->n_operands; k++)
      if (!c->operands[k].tensor && c->operands[k].scope == OPTC_SCOPE_CALL && strlen(c->operands[k].name) == length && !memcmp(c->operands[k].name, s + 1, length)) {
        found = k;
        value = c->globals[k];
      }
    if (found < 0) { out[n++] = *s; continue; }
    int written = snprintf(out + n, size - n, "%g", value);
    n = written < 0 || n + (size_t)written >= size ? size - 1 : n + (size_t)written;
    s += length + 1;
  }
  out[n] = 0;
}

/* "kat.counter" where `kat` is a list of records: the list of their counters. */
static json_t *of_every_record(Check *c, json_t *object, const char *path) {
  const char *dot = strchr(path, '.');
  char key[128];
  if (!dot || (size_t)(dot - path) >= sizeof key) return NULL;
  snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
  json_t *list = json_object_get(object, key), *made = json_is_array(list) ? json_array() : NULL;
  for (size_t i = 0; made && i < json_array_size(list); i++) {
    json_t *one = check_key(json_array_get(list, i), dot + 1);
    if (!one) { json_decref(made); return NULL; }
    json_array_append(made, one);
  }
  if (!made) return NULL;
  if (!c->made) c->made = json_array();
  json_array_append_new(c->made, made);
  return made;
}

json_t *check_path(Check *c, json_t *object, const char *external) {
  char path[256];
  insert_hypers(c, external, path, sizeof path);
  json_t *found = object ? check_key(object, path) : NULL;
  return found || !object ? found : of_every_record(c, object, path);
}

bool check_number(const json_t *value, double *out) {
  static const struct { const char *text; double value; } words[] = {{"inf", INFINITY}, {"-inf", -INFINITY}, {"nan", NAN}};
  if (json_is_number(value)) return *out = json_number_value(value), true;
  if (json_is_boolean(value)) return *out = json_is_true(value), true;
  for (unsigned i = 0; json_is_string(value) && i < sizeof words/sizeof *words; i++)
    if (!strcmp(json_string_value(value), words[i].text)) return *out = words[i].value, true;
  return false;
}

static void place(char *out, size_t size, const char *what, int step, int item) {
  int n = snprintf(out, size, "%s", what);
  if (step >= 0) n += snprintf(out + n, size - (size_t)n, "[%d]", step);
  if (item >= 0) snprintf(out + n, size - (size_t)n, "[%d]", item);
}

bool check_numbers(Check *c, const json_t *list, int64_t count, double *out, const char *what, int step, int item) {
  char where[256];
  place(where, sizeof where, what, step, item);
  if (!list) return check_bad(c, 1, "%s is missing", where);
  double single;
  if (count == 1 && !json_is_array(list) && check_number(list, &single)) return *out = single, true;
  if (!json_is_array(list)) return check_bad(c, 1, "%s is not a list of numbers", where);
  if (json_is_array(json_array_get(list, 0)) && check_count(list) == count) {
    for (size_t i = 0; i < json_array_size(list); i++) {
      json_t *row = json_array_get(list, i);
      int64_t n = check_count(row);
      if (!check_numbers(c, row, n, out, what, step, item)) return false;
      out += n;
    }
    return true;
  }
  if ((int64_t)json_array_size(list) != count)
    return check_bad(c, 1, "%s has %zu numbers, the tensor has %lld", where, json_array_size(list), (long long)count);
  for (int64_t i = 0; i < count; i++)
    if (!check_number(json_array_get(list, (size_t)i), &out[i])) return check_bad(c, 1, "%s[%lld] is not a number", where, (long long)i);
  return true;
}

int64_t check_count(const json_t *value) {
  if (!json_is_array(value)) return 1;
  if (json_array_size(value) && !json_is_array(json_array_get(value, 0))) return (int64_t)json_array_size(value);
  int64_t n = 0;
  for (size_t i = 0; i < json_array_size(value); i++) n += check_count(json_array_get(value, i));
  return n;
}

int check_depth(const json_t *value) {
  if (!value || json_is_null(value)) return -1;
  for (size_t i = 0; i < json_array_size(value); i++) {
    int below = check_depth(json_array_get(value, i));
    if (below >= 0) return below + 1;
  }
  return json_is_array(value) ? -1 : 0;
}

int check_extents(Check *c, const json_t *shape, const char *of, int64_t *extent) {
  if (!json_is_array(shape)) return check_bad(c, 1, "%s.shape is not a list", of) - 1;
  if (json_array_size(shape) > CHECK_AXES) return check_bad(c, 1, "%s.shape has %zu axes; at most %d are allowed", of, json_array_size(shape), CHECK_AXES) - 1;
  int64_t count = 1;
  int rank = (int)json_array_size(shape);
  for (int a = 0; a < rank; a++) {
    const json_t *given = json_array_get(shape, (size_t)a);
    int64_t n = json_integer_value(given);
    if (!json_is_integer(given) || n < 0 || n > 1 << 30 || count*n > 1 << 30) return check_bad(c, 1, "%s.shape[%d] is not an extent", of, a) - 1;
    count *= extent[a] = n;
  }
  return rank;
}

static bool read_shape(Check *c, CheckItem *item, int i) {
  char of[32];
  snprintf(of, sizeof of, "tensors[%d]", i);
  item->shape = check_alloc(c, CHECK_AXES, sizeof *item->shape);
  item->rank = check_extents(c, json_object_get(item->json, "shape"), of, item->shape);
  item->count = 1;
  for (int a = 0; a < item->rank; a++) item->count *= item->shape[a];
  return item->rank >= 0;
}

bool check_tensors(Check *c) {
  json_t *steps = json_object_get(c->data, "steps"), *tensors = json_object_get(c->data, "tensors"), *params = json_object_get(c->data, "params");
  if (!json_is_array(tensors)) return check_bad(c, 1, "no list 'tensors': this is not data of an optimizer");
  if (!json_is_integer(steps) || json_integer_value(steps) < 1 || json_integer_value(steps) > 1 << 20)
    return check_bad(c, 1, "'steps' is not a number of steps");
  c->steps = (int)json_integer_value(steps);
  json_t *first = json_object_get(c->data, "t_first");
  if (first && json_integer_value(first) != 1) return check_bad(c, 1, "'t_first' is not 1");
  if (!json_is_array(params)) return check_bad(c, 1, "no list 'params'");
  if (json_array_size(params) != (size_t)c->steps)
    return check_bad(c, 1, "'params' has %zu steps, 'steps' is %d", json_array_size(params), c->steps);
  if (json_array_size(tensors) < 1 || json_array_size(tensors) > 1 << 20) return check_bad(c, 1, "'tensors' is empty");
  c->n_items = (int)json_array_size(tensors);
  c->items = check_alloc(c, (size_t)c->n_items, sizeof *c->items);
  for (int i = 0; i < c->n_items; i++) {
    CheckItem *item = &c->items[i];
    item->json = json_array_get(tensors, (size_t)i);
    if (!json_is_object(item->json)) return check_bad(c, 1, "tensors[%d] is not an object", i);
    item->name = json_string_value(json_object_get(item->json, "name"));
    if (!item->name) return check_bad(c, 1, "tensors[%d].name is not a string", i);
    if (!read_shape(c, item, i)) return false;
  }
  return true;
}

bool check_problems(Check *c) {
  static const CheckItem one = {.name = NULL, .count = 1};
  json_t *tensors = json_object_get(c->data, "tensors");
  c->steps = 1;
  c->n_items = json_array_size(tensors) ? (int)json_array_size(tensors) : 1;
  c->items = check_alloc(c, (size_t)c->n_items, sizeof *c->items);
  for (int i = 0; i < c->n_items; i++) {
    c->items[i] = one;
    c->items[i].json = tensors ? json_array_get(tensors, (size_t)i) : c->data;
    if (!json_is_object(c->items[i].json)) return check_bad(c, 1, "tensors[%d] is not an object", i);
  }
  return true;
}

bool check_host_steps(Check *c) {
  json_t *values = json_object_get(c->data, "values");
  if (!json_array_size(values)) return check_bad(c, 1, "no list 'values' with a number a step");
  c->steps = (int)json_array_size(values);
  c->items = check_alloc(c, 1, sizeof *c->items);
  c->items->json = c->data;
  return true;
}

/* --- elements in memory --------------------------------------------------------------------------------------------------- */
int check_element_type(const char *name, DLDataType *type) {
  if (optc_dlpack_type(name, type) != OPTC_OK) return 0;
  return type->code == kDLFloat && type->bits == 16 ? 0 : type->bits/8;
}

bool check_fits(const char *name, double value) {
  DLDataType type;
  if (!check_element_type(name, &type)) return false;
  if (type.code == kDLBool) return value == 0 || value == 1;
  double low = type.code == kDLUInt ? 0 : -ldexp(1, type.bits - 1), high = ldexp(1, type.bits);        /* 32 bits may be told without a sign */
  return value >= low && value < high && value == floor(value);
}

static uint16_t bf16_bits(double value) {                    /* nearest even, from f32 */
  float f = (float)value;
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if (isnan(f)) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void check_store(const char *name, void *data, int64_t at, double value) {
  DLDataType type;
  check_element_type(name, &type);
  if (type.code == kDLFloat && type.bits == 64) ((double *)data)[at] = value;
  else if (type.code == kDLFloat) ((float *)data)[at] = (float)value;
  else if (type.code == kDLBfloat) ((uint16_t *)data)[at] = bf16_bits(value);
  else if (type.bits == 64) ((int64_t *)data)[at] = (int64_t)value;
  else if (type.bits == 32) ((int32_t *)data)[at] = (int32_t)(int64_t)value;
  else ((uint8_t *)data)[at] = (uint8_t)(int64_t)value;
}

double check_load(const char *name, const void *data, int64_t at) {
  DLDataType type;
  check_element_type(name, &type);
  if (type.code == kDLFloat && type.bits == 64) return ((const double *)data)[at];
  if (type.code == kDLFloat) return ((const float *)data)[at];
  if (type.code == kDLBfloat) {
    uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
  }
  if (type.bits == 64) return (double)((const int64_t *)data)[at];
  if (type.bits == 32) return ((const int32_t *)data)[at];
  return type.code == kDLInt ? ((const int8_t *)data)[at] : ((const uint8_t *)data)[at];
}
