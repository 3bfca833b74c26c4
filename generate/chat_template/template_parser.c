/* Statements of Jinja: for, if, set, macro, break, continue, and transformers' generation, which marks text
 * for training and is nothing here. */
#include "generate/chat_template/template_parser.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- what both halves use ------------------------------------------------------------------------------ */

char *parser_copy(const char *text) { return memory_check(strdup(text), "a template"); }

node *parser_node(parser *p, node_kind kind)
{
    node *n = memory_new(1, sizeof *n, "a template");
    n->kind = kind;
    n->line = p->at->line;
    n->made_before = *p->all;
    *p->all = n;
    return n;
}

const char *parser_text(const parser *p) { return p->tokens->text.text + p->at->from; }

bool parser_is(const parser *p, template_token_kind kind, const char *text)
{
    return p->at->kind == kind && (!text || !strcmp(parser_text(p), text));
}

bool parser_take(parser *p, template_token_kind kind, const char *text)
{
    const bool found = parser_is(p, kind, text);
    p->at += found;
    return found;
}

status parser_expected(const parser *p, const char *what)
{
    const bool end = p->at->kind == TOKEN_EOF;
    return fail(p->why, ERR_INPUT, "line %d: expected %s, found %.60s", p->at->line, what,
                end ? "the end of the template" : parser_text(p));
}

status parser_want(parser *p, template_token_kind kind, const char *text)
{
    if (parser_take(p, kind, text)) return OK;
    return parser_expected(p, text ? text : "the end of the tag");
}

status parser_enter(parser *p)
{
    if (++p->depth > PARSER_MAX_DEPTH)
        return fail(p->why, ERR_INPUT, "line %d: it is nested deeper than %d", p->at->line, PARSER_MAX_DEPTH);
    return OK;
}

void parser_leave(parser *p) { p->depth--; }

void node_free_all(node *all)
{
    while (all) {
        node *before = all->made_before;
        free(all->text);
        json_decref(all->value);
        free(all);
        all = before;
    }
}

/* ---- statements ---------------------------------------------------------------------------------------- */

static status parse_statement(parser *p, node **out);

static status end_tag(parser *p) { return parser_want(p, TOKEN_BLOCK_END, NULL); }

/* Whether a tag with one of these names (a list ended by NULL) begins here. */
static const char *tag_ahead(const parser *p, const char *const *names)
{
    if (p->at->kind != TOKEN_BLOCK_BEGIN || p->at[1].kind != TOKEN_NAME) return NULL;
    const char *name = p->tokens->text.text + p->at[1].from;
    for (; *names; names++)
        if (!strcmp(*names, name)) return *names;
    return NULL;
}

/* Statements up to a tag with one of the names; goes behind its name, which is *found. */
static status parse_body(parser *p, const char *const *ends, const char **found, node **out)
{
    node **end = out;
    *out = NULL;
    TRY(parser_enter(p));
    while (!(*found = tag_ahead(p, ends))) {
        if (p->at->kind == TOKEN_EOF) return parser_expected(p, ends[0]);
        TRY(parse_statement(p, end));
        end = &(*end)->next;
    }
    parser_leave(p);
    p->at += 2;
    return OK;
}

/* Behind the word if or elif. */
static status parse_if(parser *p, node **out)
{
    const char *found;
    node *n = parser_node(p, NODE_IF);
    *out = n;
    TRY(parse_expression(p, true, &n->a));
    TRY(end_tag(p));
    TRY(parse_body(p, (const char *const[]){"endif", "elif", "else", NULL}, &found, &n->b));
    if (!strcmp(found, "elif")) {
        TRY(parser_enter(p));
        TRY(parse_if(p, &n->c));
        parser_leave(p);
        return OK;
    }
    if (!strcmp(found, "else")) {
        TRY(end_tag(p));
        TRY(parse_body(p, (const char *const[]){"endif", NULL}, &found, &n->c));
    }
    return end_tag(p);
}

/* a, or a, b, or (a, b): names that get values. */
static status parse_targets(parser *p, node **out)
{
    const bool brackets = parser_take(p, TOKEN_OPERATOR, "(");
    node **end = out;
    do {
        if (p->at->kind != TOKEN_NAME) return parser_expected(p, "a name");
        *end = parser_node(p, NODE_NAME);
        (*end)->text = parser_copy(parser_text(p));
        p->at++;
        end = &(*end)->next;
    } while (parser_take(p, TOKEN_OPERATOR, ","));
    return brackets ? parser_want(p, TOKEN_OPERATOR, ")") : OK;
}

static status parse_for(parser *p, node **out)
{
    const char *found;
    node *n = parser_node(p, NODE_FOR);
    *out = n;
    TRY(parse_targets(p, &n->a));
    if (!parser_take(p, TOKEN_NAME, "in")) return parser_expected(p, "in");
    TRY(parse_without_condition(p, &n->b));
    if (parser_take(p, TOKEN_NAME, "if")) TRY(parse_expression(p, false, &n->e));
    if (parser_is(p, TOKEN_NAME, "recursive"))
        return fail(p->why, ERR_INPUT, "line %d: recursive loops are not supported", p->at->line);
    TRY(end_tag(p));
    p->loops++;
    TRY(parse_body(p, (const char *const[]){"endfor", "else", NULL}, &found, &n->c));
    p->loops--;
    if (!strcmp(found, "else")) {
        TRY(end_tag(p));
        TRY(parse_body(p, (const char *const[]){"endfor", NULL}, &found, &n->d));
    }
    return end_tag(p);
}

static status parse_set(parser *p, node **out)
{
    const char *found;
    node *n = parser_node(p, NODE_SET);
    *out = n;
    TRY(parse_targets(p, &n->a));
    if (!n->a->next && parser_take(p, TOKEN_OPERATOR, ".")) {
        if (p->at->kind != TOKEN_NAME) return parser_expected(p, "a name");
        node *attribute = parser_node(p, NODE_ATTRIBUTE);
        attribute->a = n->a;
        attribute->text = parser_copy(parser_text(p));
        n->a = attribute;
        p->at++;
    }
    if (parser_take(p, TOKEN_OPERATOR, "=")) {
        TRY(parse_expression(p, true, &n->b));
        return end_tag(p);
    }
    if (n->a->next || !parser_is(p, TOKEN_BLOCK_END, NULL)) return parser_expected(p, "=");
    n->kind = NODE_SET_BLOCK;
    TRY(end_tag(p));
    TRY(parse_body(p, (const char *const[]){"endset", NULL}, &found, &n->b));
    return end_tag(p);
}

static status parse_macro(parser *p, node **out)
{
    const char *found;
    node *n = parser_node(p, NODE_MACRO);
    *out = n;
    if (p->at->kind != TOKEN_NAME) return parser_expected(p, "the name of a macro");
    n->text = parser_copy(parser_text(p));
    p->at++;
    TRY(parse_arguments(p, true, &n->a));
    TRY(end_tag(p));
    const int loops = p->loops;
    p->loops = 0;
    TRY(parse_body(p, (const char *const[]){"endmacro", NULL}, &found, &n->b));
    p->loops = loops;
    parser_take(p, TOKEN_NAME, n->text); /* endmacro may repeat it */
    return end_tag(p);
}

static status parse_group(parser *p, node **out)
{
    const char *found;
    *out = parser_node(p, NODE_GROUP);
    TRY(end_tag(p));
    TRY(parse_body(p, (const char *const[]){"endgeneration", NULL}, &found, &(*out)->b));
    return end_tag(p);
}

static status parse_jump(parser *p, node_kind kind, node **out)
{
    if (!p->loops)
        return fail(p->why, ERR_INPUT, "line %d: break and continue belong into a loop", p->at->line);
    *out = parser_node(p, kind);
    return end_tag(p);
}

static status parse_block(parser *p, node **out)
{
    p->at++;
    if (parser_take(p, TOKEN_NAME, "if")) return parse_if(p, out);
    if (parser_take(p, TOKEN_NAME, "for")) return parse_for(p, out);
    if (parser_take(p, TOKEN_NAME, "set")) return parse_set(p, out);
    if (parser_take(p, TOKEN_NAME, "macro")) return parse_macro(p, out);
    if (parser_take(p, TOKEN_NAME, "generation")) return parse_group(p, out);
    if (parser_take(p, TOKEN_NAME, "break")) return parse_jump(p, NODE_BREAK, out);
    if (parser_take(p, TOKEN_NAME, "continue")) return parse_jump(p, NODE_CONTINUE, out);
    return fail(p->why, ERR_INPUT,
                "line %d: the tag %.60s is not supported here; there are: for, if, set, macro, break, "
                "continue, generation and their ends",
                p->at->line, parser_text(p));
}

static status parse_statement(parser *p, node **out)
{
    if (p->at->kind == TOKEN_BLOCK_BEGIN) return parse_block(p, out);
    if (p->at->kind == TOKEN_TEXT) {
        *out = parser_node(p, NODE_TEXT);
        (*out)->value =
            memory_check(json_stringn_nocheck(parser_text(p), (size_t)p->at->bytes), "a template");
        p->at++;
        return OK;
    }
    p->at++; /* the lexer makes nothing else between tags */
    *out = parser_node(p, NODE_OUTPUT);
    TRY(parse_expression(p, true, &(*out)->a));
    return parser_want(p, TOKEN_OUTPUT_END, NULL);
}

status template_parse(node **statements, node **all, const char *source, int64_t bytes, message *why)
{
    template_tokens tokens = {0};
    node **end = statements;
    *statements = *all = NULL;
    status s = template_lex(&tokens, source, bytes, why);
    parser p = {.tokens = &tokens, .at = tokens.token, .all = all, .why = why};
    while (s == OK && p.at->kind != TOKEN_EOF) {
        s = parse_statement(&p, end);
        if (s == OK) end = &(*end)->next;
    }
    template_tokens_free(&tokens);
    return s;
}
