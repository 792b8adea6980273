/* openapi_schema.h - as much of JSON Schema (draft 2020-12) as openapi.json uses, for the tests of
 * serve.
 *
 * Does:     schema_valid(document, schema, value) says whether a value is what a schema allows. A
 *           keyword that is not known here fails the test, so that none is passed over.
 * Memory:   nothing is kept. Include after <cmocka.h>. */
#ifndef SELLA_TESTS_OPENAPI_SCHEMA_H
#define SELLA_TESTS_OPENAPI_SCHEMA_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool schema_valid(const json_t *document, const json_t *schema, const json_t *value);

/* The schema, or what its $ref names. */
static inline const json_t *schema_followed(const json_t *document, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (ref == NULL) {
        return schema;
    }
    const json_t *all = json_object_get(json_object_get(document, "components"), "schemas");
    const json_t *found = json_object_get(all, strrchr(ref, '/') + 1);
    if (found == NULL) {
        fail_msg("%s leads nowhere", ref);
    }
    return found;
}

static inline bool schema_is_type(const char *type, const json_t *value)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "integer") == 0 && json_is_real(value) &&
            json_real_value(value) == floor(json_real_value(value))) ||
           (strcmp(type, "number") == 0 && json_is_number(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "null") == 0 && json_is_null(value));
}

static inline bool schema_type_fits(const json_t *type, const json_t *value)
{
    bool fits =
        type == NULL || (json_is_string(type) && schema_is_type(json_string_value(type), value));
    for (size_t i = 0; i < json_array_size(type); i++) {
        fits = fits || schema_is_type(json_string_value(json_array_get(type, i)), value);
    }
    return fits;
}

static inline bool schema_object_fits(const json_t *document, const json_t *schema,
                                      const json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const char *key;
    json_t *part;
    for (size_t i = 0; i < json_array_size(required); i++) {
        if (json_object_get(value, json_string_value(json_array_get(required, i))) == NULL) {
            return false;
        }
    }
    json_object_foreach ((json_t *)(uintptr_t)value, key, part) {
        const json_t *of = json_object_get(properties, key);
        if (of == NULL ? json_is_false(json_object_get(schema, "additionalProperties"))
                       : !schema_valid(document, of, part)) {
            return false;
        }
    }
    return true;
}

/* Is the measure within the schema's limits of these names? */
static inline bool schema_within(const json_t *schema, const char *low, const char *high,
                                 double measure)
{
    const json_t *min = json_object_get(schema, low), *max = json_object_get(schema, high);
    return (min == NULL || measure >= json_number_value(min)) &&
           (max == NULL || measure <= json_number_value(max));
}

static inline bool schema_sizes_fit(const json_t *schema, const json_t *value)
{
    if (json_is_number(value)) {
        const json_t *above = json_object_get(schema, "exclusiveMinimum");
        return schema_within(schema, "minimum", "maximum", json_number_value(value)) &&
               (above == NULL || json_number_value(value) > json_number_value(above));
    }
    if (json_is_string(value)) {
        const char *pattern = json_string_value(json_object_get(schema, "pattern"));
        const char *text = json_string_value(value);
        size_t count = 0;
        for (const char *at = text; *at != '\0'; at++) {
            count += ((unsigned char)*at & 0xC0) != 0x80;
        }
        if (pattern != NULL && strcmp(pattern, "\\S") == 0 &&
            text[strspn(text, " \t\r\n")] == '\0') {
            return false;
        }
        return schema_within(schema, "minLength", "maxLength", (double)count);
    }
    return !json_is_array(value) ||
           schema_within(schema, "minItems", "maxItems", (double)json_array_size(value));
}

static inline int schema_fitting(const json_t *document, const json_t *choices, const json_t *value)
{
    int fitting = 0;
    for (size_t i = 0; i < json_array_size(choices); i++) {
        fitting += schema_valid(document, json_array_get(choices, i), value);
    }
    return fitting;
}

static inline bool schema_among(const json_t *words, const json_t *value)
{
    bool among = words == NULL;
    for (size_t i = 0; i < json_array_size(words); i++) {
        among = among || json_equal(json_array_get(words, i), value);
    }
    return among;
}

static inline void schema_check_keywords(const json_t *schema)
{
    static const char *const known[] = {"$ref",
                                        "type",
                                        "required",
                                        "properties",
                                        "additionalProperties",
                                        "items",
                                        "enum",
                                        "oneOf",
                                        "anyOf",
                                        "minimum",
                                        "maximum",
                                        "exclusiveMinimum",
                                        "minItems",
                                        "maxItems",
                                        "if",
                                        "then",
                                        "minLength",
                                        "maxLength",
                                        "pattern",
                                        "default",
                                        "description"};
    const char *key;
    json_t *part;
    json_object_foreach ((json_t *)(uintptr_t)schema, key, part) {
        bool is = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            is = is || strcmp(known[i], key) == 0;
        }
        if (!is) {
            fail_msg("openapi.json uses '%s', which tests/openapi_schema.h does not know", key);
        }
    }
}

static inline bool schema_valid(const json_t *document, const json_t *schema, const json_t *value)
{
    schema = schema_followed(document, schema);
    schema_check_keywords(schema);
    const json_t *one = json_object_get(schema, "oneOf"), *any = json_object_get(schema, "anyOf");
    const json_t *when = json_object_get(schema, "if");
    if ((one != NULL && schema_fitting(document, one, value) != 1) ||
        (any != NULL && schema_fitting(document, any, value) == 0) ||
        (when != NULL && schema_valid(document, when, value) &&
         !schema_valid(document, json_object_get(schema, "then"), value)) ||
        !schema_type_fits(json_object_get(schema, "type"), value) ||
        !schema_among(json_object_get(schema, "enum"), value) || !schema_sizes_fit(schema, value) ||
        (json_is_object(value) && !schema_object_fits(document, schema, value))) {
        return false;
    }
    const json_t *items = json_object_get(schema, "items");
    for (size_t i = 0; items != NULL && i < json_array_size(value); i++) {
        if (!schema_valid(document, items, json_array_get(value, i))) {
            return false;
        }
    }
    return true;
}

#endif
