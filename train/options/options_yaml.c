/* Options from a YAML file: a mapping of sections, each a mapping of keys to a scalar or, for a list, a
 * sequence of scalars, or in data.train of {path, weight}. It is read as a stream of events, of which only
 * these shapes are let through; what makes YAML surprising (anchors, tags, several documents, repeated keys)
 * is refused by name and place. */
#include "base/memory.h"
#include "base/nearest.h"
#include "train/options/options_table.h"
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_LIMIT = 1 << 20 };

typedef struct reader {
    options *o;
    const char *path, *text; /* the file */
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    bool section_seen[32], seen[NUM_OPTIONS];
    message *why;
} reader;

static int line_of(const reader *r) { return (int)r->event.start_mark.line + 1; }

static status refuse(reader *r, const char *found, const char *expected)
{
    return fail(r->why, ERR_INPUT, "%s:%d:%d: found %s, expected %s", r->path, line_of(r),
                (int)r->event.start_mark.column + 1, found, expected);
}

/* What libyaml cannot read. It gives bytes that are not text as an offset only. */
static status refuse_syntax(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) memory_failed("the YAML of %s", r->path);
    size_t line = p->problem_mark.line + 1, column = p->problem_mark.column + 1;
    if (p->error == YAML_READER_ERROR) {
        line = column = 1;
        for (const char *c = r->text; c < r->text + p->problem_offset; c++) {
            column = *c == '\n' ? 1 : column + 1;
            line += *c == '\n';
        }
    }
    return fail(r->why, ERR_INPUT, "%s:%zu:%zu: not valid YAML: %s%s%s", r->path, line, column,
                p->context ? p->context : "", p->context ? ", " : "", p->problem);
}

/* The next event, which replaces the current one. */
static status next(reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event)) return refuse_syntax(r);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return refuse(r, "an alias (*)", "the value itself");
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        if (strlen((const char *)r->event.data.scalar.value) != r->event.data.scalar.length)
            return refuse(r, "a text with a zero byte", "none");
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor) return refuse(r, "an anchor (&)", "the value alone");
    if (tag) return refuse(r, "a tag (!)", "the value alone");
    return OK;
}

static bool is(const reader *r, yaml_event_type_t type) { return r->event.type == type; }

static char *scalar(const reader *r) { return (char *)r->event.data.scalar.value; }

static bool is_null(const reader *r)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (!is(r, YAML_SCALAR_EVENT) || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(scalar(r), words[i])) return true;
    return false;
}

static char *copy(const char *text) { return memory_check(strdup(text), "a text"); }

static status read_part(reader *r, char **part, const char *name)
{
    if (*part) return refuse(r, name, "it once");
    TRY(next(r));
    if (!is(r, YAML_SCALAR_EVENT) || is_null(r)) return refuse(r, "no value", "a text");
    *part = copy(scalar(r));
    return OK;
}

static status read_parts(reader *r, char **path, char **weight)
{
    for (;;) {
        TRY(next(r));
        if (is(r, YAML_MAPPING_END_EVENT)) break;
        if (is(r, YAML_SCALAR_EVENT) && !strcmp(scalar(r), "path"))
            TRY(read_part(r, path, "path again"));
        else if (is(r, YAML_SCALAR_EVENT) && !strcmp(scalar(r), "weight")) {
            TRY(read_part(r, weight, "weight again"));
            if (!**weight || (*weight)[strspn(*weight, "0123456789.")])
                return refuse(r, *weight, "a weight like 3 or 0.25");
        } else
            return refuse(r, "another key", "path or weight");
    }
    return *path && *weight ? OK : refuse(r, "the end", "both path and weight");
}

/* {path: a.ds, weight: 3} is kept as the command line has it: a.ds:3. */
static status read_weighted(reader *r, char **item)
{
    char *path = NULL, *weight = NULL;
    const status s = read_parts(r, &path, &weight);
    if (s == OK && asprintf(item, "%s:%s", path, weight) < 0) memory_failed("a text");
    free(path);
    free(weight);
    return s;
}

/* The items up to the end of a sequence into item[*count], which the caller frees. */
static status read_items(reader *r, bool weighted, char ***item, int *count)
{
    for (;;) {
        TRY(next(r));
        if (is(r, YAML_SEQUENCE_END_EVENT)) return OK;
        const bool mapping = weighted && is(r, YAML_MAPPING_START_EVENT);
        if (!mapping && (!is(r, YAML_SCALAR_EVENT) || is_null(r)))
            return refuse(r, is_null(r) ? "null" : "a nested value", "a text");
        char **grown = memory_check(realloc(*item, sizeof **item * ((size_t)*count + 1)), "texts");
        *item = grown;
        if (mapping)
            TRY(read_weighted(r, &grown[*count]));
        else
            grown[*count] = copy(scalar(r));
        ++*count;
    }
}

static status read_sequence(reader *r, int id)
{
    const int line = line_of(r);
    char **item = NULL;
    int count = 0;
    status s = read_items(r, id == OPTION_data_train, &item, &count);
    if (s == OK) s = option_assign(r->o, id, item, count, line, r->why);
    for (int i = 0; i < count; i++) free(item[i]);
    free(item);
    return s;
}

/* The current event is a key of `section`; reads its value. */
static status read_value(reader *r, const char *section)
{
    const int id = option_find(section, scalar(r));
    if (id < 0)
        return fail(r->why, ERR_USAGE,
                    "%s:%d: unknown option %s.%.100s; did you mean %s? `remla options` lists all", r->path,
                    line_of(r), section, scalar(r), option_nearest(section, scalar(r)));
    if (r->seen[id])
        return fail(r->why, ERR_USAGE, "%s:%d: %s.%s is set a second time", r->path, line_of(r), section,
                    scalar(r));
    r->seen[id] = true;
    TRY(next(r));
    if (is_null(r)) return OK; /* the default stays */
    if (is(r, YAML_SEQUENCE_START_EVENT)) return read_sequence(r, id);
    if (!is(r, YAML_SCALAR_EVENT)) return refuse(r, "keys inside a key", "a value");
    char *text = scalar(r);
    return option_assign(r->o, id, &text, 1, line_of(r), r->why);
}

static const option_section *nearest_section(const char *name)
{
    const option_section *best = &option_sections[0];
    for (int i = 1; i < num_option_sections; i++)
        if (edit_distance(name, option_sections[i].name) < edit_distance(name, best->name))
            best = &option_sections[i];
    return best;
}

/* The current event is a section's name; reads its keys. */
static status read_section(reader *r)
{
    const option_section *section = nearest_section(scalar(r));
    const int i = (int)(section - option_sections);
    if (strcmp(section->name, scalar(r)) != 0)
        return fail(r->why, ERR_USAGE, "%s:%d: unknown section %.100s; did you mean %s?", r->path, line_of(r),
                    scalar(r), section->name);
    if (r->section_seen[i])
        return fail(r->why, ERR_USAGE, "%s:%d: the section %s appears a second time", r->path, line_of(r),
                    section->name);
    r->section_seen[i] = true;
    TRY(next(r));
    if (is_null(r)) return OK;
    if (!is(r, YAML_MAPPING_START_EVENT)) return refuse(r, "a value", "the keys of the section");
    for (;;) {
        TRY(next(r));
        if (is(r, YAML_MAPPING_END_EVENT)) return OK;
        if (!is(r, YAML_SCALAR_EVENT)) return refuse(r, "a nested key", "the name of a key");
        TRY(read_value(r, section->name));
    }
}

static status read_sections(reader *r)
{
    for (;;) {
        TRY(next(r));
        if (is(r, YAML_MAPPING_END_EVENT)) return OK;
        if (!is(r, YAML_SCALAR_EVENT)) return refuse(r, "a nested key", "the name of a section");
        TRY(read_section(r));
    }
}

static status read_stream(reader *r)
{
    TRY(next(r)); /* start of the stream */
    TRY(next(r));
    if (is(r, YAML_STREAM_END_EVENT)) return OK; /* nothing but comments: all defaults */
    TRY(next(r));
    if (is(r, YAML_MAPPING_START_EVENT))
        TRY(read_sections(r));
    else if (!is_null(r))
        return refuse(r, "a value", "sections of keys");
    TRY(next(r)); /* end of the document */
    TRY(next(r));
    return is(r, YAML_STREAM_END_EVENT) ? OK : refuse(r, "a second document", "one");
}

status options_read_yaml(options *o, const char *path, message *why)
{
    REQUIRE(!o->file[0], "%s: options have been read from %s", path, o->file);
    REQUIRE(num_option_sections <= 32, "more sections than a reader can tick off");
    char *text;
    int64_t bytes;
    TRY(option_text_check("the name of the config file", path, why));
    TRY(file_read_text(path, FILE_LIMIT, &text, &bytes, why));
    snprintf(o->file, sizeof o->file, "%s", path);
    reader r = {.o = o, .path = path, .text = text, .why = why};
    if (!yaml_parser_initialize(&r.parser)) memory_failed("a YAML parser");
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, (size_t)bytes);
    const status s = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    free(text);
    return s;
}
