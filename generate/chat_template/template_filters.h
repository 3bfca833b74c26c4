/* Private to template_filters.c and template_list_filters.c: filters whose table is in the other file. */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_FILTERS_H
#define REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_FILTERS_H
#include "generate/chat_template/template_run.h"

json_t *filter_length(template_run *x, json_t *v, const arguments *a);
json_t *filter_list(template_run *x, json_t *v, const arguments *a);
json_t *filter_first(template_run *x, json_t *v, const arguments *a);
json_t *filter_last(template_run *x, json_t *v, const arguments *a);
json_t *filter_reverse(template_run *x, json_t *v, const arguments *a);
json_t *filter_join(template_run *x, json_t *v, const arguments *a);
json_t *filter_unique(template_run *x, json_t *v, const arguments *a);
json_t *filter_sort(template_run *x, json_t *v, const arguments *a);
json_t *filter_items(template_run *x, json_t *v, const arguments *a);
json_t *filter_dictsort(template_run *x, json_t *v, const arguments *a);
json_t *filter_map(template_run *x, json_t *v, const arguments *a);
json_t *filter_select(template_run *x, json_t *v, const arguments *a);
json_t *filter_reject(template_run *x, json_t *v, const arguments *a);
json_t *filter_selectattr(template_run *x, json_t *v, const arguments *a);
json_t *filter_rejectattr(template_run *x, json_t *v, const arguments *a);

#endif
