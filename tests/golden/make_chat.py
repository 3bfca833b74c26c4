"""Writes tests/golden/chat/cases.jsonl: templates in the manner of those that models come with, variables, and what PyPI jinja2 makes of them, set up as
transformers sets it up (utils/chat_template_utils.py). usage: python make_chat.py >tests/golden/chat/cases.jsonl   (needs jinja2 3.1)"""
import datetime
import json

import jinja2
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1735689600 + 36000 # 2025-01-01 10:00 UTC


class Generation(Extension):
    """The tag that transformers uses to mark what an assistant says."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)


def environment():
    e = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    e.filters["tojson"] = tojson
    e.globals["raise_exception"] = raise_exception
    e.globals["strftime_now"] = strftime_now
    return e


USER = {"role": "user", "content": "How are you?"}
TALK = [{"role": "system", "content": "  Be brief.\n"}, USER, {"role": "assistant", "content": "Fine. \u00e9\u6f22\U0001f600 "}, {"role": "user", "content": "And 'now' \"then\"?"}]
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds <two> & more", "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number", "default": 0.1}}, "required": ["a"]}}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": [True, None, "x"]}}}]}
TOOL_TALK = [USER, CALL, {"role": "tool", "tool_call_id": "call00001", "name": "add", "content": "3"}, {"role": "assistant", "content": "It is 3."}, USER]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]}]

# Whole templates: the ways in which families of models write theirs.
PLAIN_TAGS = """{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|begin|>system\nYou are helpful<|stop|>\n' }}{% endif %}{{'<|begin|>' + m['role'] + '\n' + m['content'] + '<|stop|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|begin|>assistant\n' }}{% endif %}"""

BRACKETS = """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}
{%- for m in rest %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}
{%- if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}
{%- if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}
{%- endfor %}"""

HEADERS = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user is defined %}
    {%- set tools_in_user = true %}
{%- endif %}
{%- if not date is defined %}
    {%- if strftime_now is defined %}
        {%- set date = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message comes first. -#}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|head|>system<|/head|>\n\n" }}
{%- if builtin is defined or tools is not none %}
    {{- "Environment: python\n" }}
{%- endif %}
{%- if builtin is defined %}
    {{- "Tools: " + builtin | reject('equalto', 'code') | join(", ") + "\n\n"}}
{%- endif %}
{{- "Today: " + date + "\n\n" }}
{%- if tools is not none and not tools_in_user %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{{- system }}
{{- "<|end|>" }}
{%- if tools_in_user and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("There is no first user message to put the tools into!") }}
    {%- endif %}
    {{- '<|head|>user<|/head|>\n\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
    {{- first + "<|end|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|head|>' + message['role'] + '<|/head|>\n\n'+ message['content'] | trim + '<|end|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("Only one call at a time!") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {%- if builtin is defined and call.name in builtin %}
            {{- '<|tag|>' + call.name + ".call(" }}
            {%- for name, value in call.arguments | items %}
                {{- name + '="' + value + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
            {%- endfor %}
            {{- ")" }}
        {%- else %}
            {{- '{"name": "' + call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {{- "<|end|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|head|>ipython<|/head|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|end|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|/head|>\n\n' }}
{%- endif %}
"""

SIGNATURES = """{%- if tools %}
    {{- '<|b|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are kind.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nReturn {\\"name\\": <name>, \\"arguments\\": <object>}<|e|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|b|>system\n' + messages[0]['content'] + '<|e|>\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and message.content is string and not(message.content.startswith('<answer>') and message.content.endswith('</answer>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|b|>' + message.role + '\n' + content + '<|e|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.thought is string %}
            {%- set thought = message.thought %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and thought)) %}
            {{- '<|b|>' + message.role + '\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|b|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\n' }}
                {%- endif %}
                {%- if call.function %}
                    {%- set call = call.function %}
                {%- endif %}
                {{- '<call>\n{"name": "' }}
                {{- call.name }}
                {{- '", "arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
                {{- '}\n</call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|e|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|b|>user' }}
        {%- endif %}
        {{- '\n<answer>\n' }}
        {{- content }}
        {{- '\n</answer>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|e|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|b|>assistant\n' }}
    {%- if thinking is defined and thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"""

MARKS = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system = ns.system + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system = ns.system + '\n\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<U>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{{'<A><calls>' + tool['type'] + '<sep>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments']|tojson + '\n' + '```' + '<end>'}}{%- set ns.is_first = true -%}{%- else %}{{'\n' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'</calls>'}}{%- elif message['role'] == 'assistant' %}{%- if ns.is_tool %}{{'<outputs/>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<A>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<outputs><output>' + message['content'] + '</output>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\n<output>' + message['content'] + '</output>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'</outputs>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<A>'}}{% endif %}"""

STRICT = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{#- Whether the roles alternate, without those of tools. #}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[RESULTS] {"content": ' + content|string + ", " }}
        {%- if not message.tool_call_id is defined or message.tool_call_id|length != 9 %}
            {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
        {%- endif %}
        {{- '"call_id": "' + message.tool_call_id + '"}[/RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

MACROS = """{%- macro parts(content, sep=' ', mark='') -%}
    {%- if content is string -%}
        {{ content | trim }}
    {%- else -%}
        {%- for part in content if part.type == 'text' -%}
            {{ part['text'] ~ mark }}{% if not loop.last %}{{ sep }}{% endif %}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- macro nested(n) -%}({%- if n > 0 -%}{{ nested(n - 1) }}{%- endif -%}){%- endmacro -%}
{% for message in messages -%}
    {% if message.role == 'skip' %}{% continue %}{% endif %}
    {%- if message.role == 'stop' %}{% break %}{% endif -%}
    <{{ message.role }}>{% generation %}{{ parts(message.content, sep='/') }}{{ parts(mark='!', content='x') }}{% endgeneration %}</{{ message.role }}>
{% else %}
nobody
{% endfor %}
{{ nested(3) }}"""

WHOLE = {"plain_tags": PLAIN_TAGS, "brackets": BRACKETS, "headers": HEADERS, "signatures": SIGNATURES, "marks": MARKS, "strict": STRICT, "macros": MACROS}
VARIABLES = [
    {"messages": TALK}, {"messages": TALK, "add_generation_prompt": True}, {"messages": [USER], "add_generation_prompt": True}, {"messages": []},
    {"messages": TOOL_TALK, "tools": [TOOL], "add_generation_prompt": True}, {"messages": [USER, USER]}, {"messages": PARTS},
    {"messages": TALK, "tools": [TOOL, TOOL], "tools_in_user": False, "builtin": ["search", "code", "add"], "date": "1 May 2024"},
    {"messages": [USER, {"role": "assistant", "content": "<think>\nHm\n</think>\n\nWell."}, USER], "thinking": False, "add_generation_prompt": True},
    {"messages": [{"role": "skip", "content": ""}, USER, {"role": "stop", "content": ""}, USER]},
]

# Expressions and statements, one by one. x, y ... are in the variables below.
SMALL = [
    # values and how they print
    "{{ 1 }}|{{ -1 }}|{{ 1.0 }}|{{ 0.1 }}|{{ 1e16 }}|{{ 1e-5 }}|{{ 123456789.125 }}|{{ true }}|{{ none }}|{{ 'a' }}|{{ [1, 'a', none, true, 1.5] }}|{{ {'k': ['v', \"it's\", '\"', '\\n']} }}|{{ [] }}|{{ {} }}|{{ (1, 2)[0] }}|{{ 1_000 }}",
    "{{ 'a' 'b' \"c\" }}|{{ '\\n\\t\\\\\\'\\\"\\x41\\u00e9\\q' }}|{{ nothing }}|{{ x.nothing }}|{{ l[9] }}|{{ 'h\u00e9llo'[1] }}|{{ l[-1] }}|{{ d['k'] }}|{{ d.k }}|{{ l.0 }}",
    # arithmetic
    "{{ 1 + 2 * 3 }}|{{ (1 + 2) * 3 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % 3 }}|{{ -7 % 3 }}|{{ 7 % -3 }}|{{ 7 / 2 }}|{{ 2 ** 10 }}|{{ 2 ** -1 }}|{{ 1.5 + 1 }}|{{ true + 1 }}|{{ 5.5 // 2 }}|{{ -5.5 % 2 }}|{{ 'ab' * 3 }}|{{ 2 * [0] }}|{{ [1] + [2] }}|{{ 1 ~ 'a' ~ none ~ nothing }}|{{ 2 - 1 - 1 }}|{{ 2 ** 3 ** 2 }}|{{ -2 ** 2 }}",
    # comparison and logic
    "{{ 1 < 2 }}|{{ 1 < 2 < 3 }}|{{ 3 > 2 > 2 }}|{{ 'a' < 'b' }}|{{ 1 == 1.0 }}|{{ true == 1 }}|{{ '1' == 1 }}|{{ [1, [2]] == [1, [2]] }}|{{ d == {'k': 'v'} }}|{{ nothing == nothing }}|{{ nothing == '' }}|{{ none == nothing }}|{{ 1 != 2 }}|{{ 2 in [1, 2] }}|{{ 3 not in [1, 2] }}|{{ 'b' in 'abc' }}|{{ 'k' in d }}|{{ 'z' in d }}|{{ not 1 in [2] }}|{{ not true }}|{{ 1 and 0 }}|{{ 0 or 'x' }}|{{ '' or none }}|{{ not '' and not [] and not {} and not 0 and not none and not nothing }}",
    "{{ 'a' if x else 'b' }}|{{ 'a' if nothing }}|{{ 'a' if nothing else 'b' if 0 else 'c' }}|{{ (1 if 0 else 2) + 1 }}|{{ [1, 2][0 if x else 1] }}",
    # tests
    "{{ x is defined }}|{{ nothing is defined }}|{{ x.y is undefined }}|{{ none is none }}|{{ x is not none }}|{{ 'a' is string }}|{{ 1 is number }}|{{ true is number }}|{{ 1 is integer }}|{{ true is boolean }}|{{ 1.0 is float }}|{{ d is mapping }}|{{ l is iterable }}|{{ 'a' is iterable }}|{{ 1 is iterable }}|{{ l is sequence }}|{{ 3 is odd }}|{{ 4 is even }}|{{ 9 is divisibleby 3 }}|{{ 9 is divisibleby(4) }}|{{ 1 is eq 1 }}|{{ 1 is equalto(2) }}|{{ 2 is gt 1 }}|{{ 2 is in [1, 2] }}|{{ true is true }}|{{ 1 is true }}|{{ false is false }}|{{ raise_exception is defined }}|{{ x is defined and x == 5 }}|{{ -1 is odd }}",
    # slices
    "{{ l[1:] }}|{{ l[:-1] }}|{{ l[::-1] }}|{{ l[::2] }}|{{ l[5:1:-2] }}|{{ l[-2:] }}|{{ l[:100] }}|{{ l[100:] }}|{{ l[-100:2] }}|{{ l[2:1] }}|{{ 'h\u00e9llo'[1:3] }}|{{ 'h\u00e9llo'[::-1] }}|{{ ''[1:] }}|{{ l[none:2] }}|{{ l[-1:-3:-1] }}|{{ l[:2:-1] }}",
    # filters
    "{{ '  a b \\n' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ 'abc' | length }}|{{ 'h\u00e9\u6f22' | length }}|{{ l | count }}|{{ d | length }}|{{ 'aBc d' | upper }}|{{ 'ABc' | lower }}|{{ 'hello wORLD' | capitalize }}|{{ 'hello wORLD' | title }}|{{ '\u00e9cole' | upper }}|{{ 'a-b-a' | replace('a', 'X') }}|{{ 'a-b-a' | replace('a', 'X', 1) }}",
    "{{ l | first }}|{{ l | last }}|{{ [] | first }}|{{ 'abc' | first }}|{{ l | join }}|{{ l | join(', ') }}|{{ people | join(', ', attribute='n') }}|{{ 'abc' | list }}|{{ d | list }}|{{ l | reverse | list }}|{{ 'abc' | reverse }}|{{ [3, 1, 2] | sort }}|{{ ['b', 'A', 'c'] | sort }}|{{ [3, 1, 2] | sort(reverse=true) }}|{{ people | sort(attribute='n') | map(attribute='n') | list }}|{{ [1, 2, 1] | unique | list }}",
    "{{ '12' | int }}|{{ 'x' | int }}|{{ 'x' | int(7) }}|{{ 3.9 | int }}|{{ '1.5' | float }}|{{ 1 | float }}|{{ 5 | string ~ 'x' }}|{{ -3 | abs }}|{{ nothing | default('d') }}|{{ '' | default('d') }}|{{ '' | default('d', true) }}|{{ none | d('x') }}|{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ '<' | safe }}",
    "{{ people | selectattr('n', 'equalto', 'bo') | list | length }}|{{ people | selectattr('old') | map(attribute='n') | join(',') }}|{{ people | rejectattr('old') | map(attribute='n') | join(',') }}|{{ people | map(attribute='q', default='?') | join(',') }}|{{ ['a', 'b'] | map('upper') | join }}|{{ [1, 2, 3] | select('odd') | list }}|{{ [1, 2, 3] | reject('gt', 1) | list }}|{{ ['', 'a'] | select | list }}|{{ people | selectattr('old', 'defined') | list | length }}",
    "{{ d | items | list | length }}|{% for k, v in m | items %}{{ k }}={{ v }};{% endfor %}|{{ m | dictsort | map('first') | join }}|{% for k in m %}{{ k }}{% endfor %}",
    "{{ m | tojson }}|{{ [1, 0.1, 2.5, 'h\u00e9\"\\\\\\n<&>', none, true] | tojson }}|{{ {'a': {'b': []}, 'c': {}} | tojson(indent=2) }}|{{ 'x' | tojson }}|{{ m | tojson(sort_keys=true) }}|{{ 'h\u00e9' | tojson(ensure_ascii=true) }}",
    # methods
    "{{ ' a '.strip() }}|{{ 'xax'.strip('x') }}|{{ ' a '.lstrip() ~ '.' }}|{{ ' a '.rstrip() }}|{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split() }}|{{ 'a b  c '.split(none, 1) }}|{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith(('x', 'bc')) }}|{{ 'a-b'.replace('-', '+') }}|{{ 'aXb'.lower().upper() }}|{{ 'hello'.find('l') }}|{{ 'hello'.find('z') }}|{{ 'hello'.count('l') }}|{{ ', '.join(['a', 'b']) }}|{{ 'they are'.title() }}|{{ 'ab'.capitalize() }}|{{ 'abc'.removeprefix('a').removesuffix('c') }}|{{ 'a\\nb\\n'.splitlines() }}|{{ '12'.isdigit() }}|{{ 'a.b.c'.rsplit('.', 1) }}",
    "{{ m.keys() | list }}|{{ m.values() | list }}|{{ m.get('a') }}|{{ m.get('z') }}|{{ m.get('z', 9) }}|{% for k, v in m.items() %}{{ k }}:{{ v }} {% endfor %}",
    # statements
    "{% set a = 1 %}{% if true %}{% set a = 2 %}{% endif %}{{ a }}{% for i in [1] %}{% set a = 3 %}{{ a }}{% endfor %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t[1] }}{% for a, b in [[1, 2], [3, 4]] %}{{ a }}-{{ b }} {% endfor %}{% for (a, b) in [[5, 6]] %}{{ a + b }}{% endfor %}",
    "{% set text %}a{{ x }}b{% endset %}[{{ text }}]{{ text | length }}",
    "{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for i in range(5) if i % 2 == 0 %}{{ loop.index }}:{{ i }} {% endfor %}{% for i in [] %}x{% else %}none{% endfor %}{% for i in range(2) if i > 9 %}x{% else %}none{% endfor %}{{ range(1, 8, 3) | list }}{{ range(3, 0, -1) | list }}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{% set ns.c = [] %}{{ ns.c }}",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(1, c=5) }}|{{ f(b=1, a=2) }}|{{ f() }}|{{ f is defined }}{% macro g() %}{{ x }}{{ y }}{% endmacro %}{% set y = 3 %}{{ g() }}",
    "{% if x == 1 %}a{% elif x == 5 %}b{% elif true %}c{% else %}d{% endif %}{% if nothing %}a{% elif none %}b{% else %}c{% endif %}",
    "{{ dict(a=1, b='c') }}{{ dict() }}{{ {'a': 1}['a'] }}{{ strftime_now('%Y-%m-%d %H:%M') }}",
    # white space
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "  {% if true %}x{% endif %}  \n  y  {{- ' z ' -}}  \n w", "a  {#- c -#}  b\n  {# d #}\n  e", "x {%- if true -%} y {%- endif -%} z", "a\n\n{% for i in [1, 2] %}\n  {{ i }}\n{% endfor %}\n\nb\n\n",
    "a {%+ if true %} b{% endif +%}\nc", "   {{ 1 }}\n   {% set a = 1 %}\n   {{ a }}", "{%- set a = 1 -%}\n\n  b", "one\r\ntwo\r\n{% if true %}\r\nthree{% endif %}", "{% if true %}\n\n  x{% endif %}", "{{ '}}' }}{{ {'a': {'b': 1}}['a']['b'] }}{{ '%}' }}", "{ { % a # }{", "", "\n", "a\n",
    # mistakes
    "{{ nothing.x }}", "{{ nothing['x'] }}", "{{ x.y.z }}", "{{ nothing + 'a' }}", "{{ 'a' + 1 }}", "{{ none + 'a' }}", "{{ 1 / 0 }}", "{{ 1 < 'a' }}", "{{ 1 in 2 }}", "{{ nofilter | nofilter }}", "{{ 1 is notest }}", "{{ nofunction() }}", "{{ 'a'.nomethod() }}", "{% for i in 5 %}{% endfor %}", "{% for i in none %}{% endfor %}",
    "{% set a.b = 1 %}", "{{ raise_exception('no ' ~ x) }}", "{% if %}{% endif %}", "{% if x %}", "{% endif %}", "{{ 1", "{{ (1 }}", "{{ 'a }}", "{% nosuch %}", "{{ 1 2 }}", "{# a", "{{ }}", "{% for x %}{% endfor %}", "{{ a b }}", "{% break %}", "{{ [1, 2 }}", "{{ l.append(1) }}", "{{ none | length }}", "{{ d | join(1, 2, 3, 4) }}", "{% set l = l + [1] %}{{ l | length }}",
]
SMALL_VARIABLES = {"x": 5, "l": [1, 2, 3, 4], "d": {"k": "v"}, "m": {"b": 1, "a": "two", "C": None}, "people": [{"n": "cy", "old": True}, {"n": "bo", "old": False}, {"n": "al", "old": True}]}


def case(name, template, variables):
    line = {"name": name, "template": template, "variables": {"bos_token": "<s>", "eos_token": "</s>", **variables}}
    try:
        line["text"] = environment().from_string(template).render(**line["variables"])
    except (jinja2.exceptions.TemplateError, TypeError, ZeroDivisionError, AttributeError, ValueError, SyntaxError) as error:
        line["error"] = f"{type(error).__name__}: {error}"[:200]
    print(json.dumps(line, ensure_ascii=False))


for name, template in WHOLE.items():
    for i, variables in enumerate(VARIABLES):
        case(f"{name} {i}", template, variables)
for i, template in enumerate(SMALL):
    case(f"small {i}", template, SMALL_VARIABLES)
