#include "inlines.h"

#include <string.h>
#include <wctype.h>

static int32_t node_new(parser *state, node_kind kind, slice text) {
    if (state->node_count == state->node_capacity) {
        state->node_capacity += state->node_capacity / 2 + 32;
        state->nodes = spell_reallocate(state->nodes, (size_t)state->node_capacity * sizeof *state->nodes);
    }
    state->nodes[state->node_count] = (node){.text = text, .kind = kind, .run_before = NONE, .run_after = NONE};
    return state->node_count++;
}

int32_t node_insert(parser *state, int32_t place, node_kind kind, slice text) {
    int32_t made = node_new(state, kind, text);
    int32_t after = place == NONE ? state->first : state->nodes[place].after;
    state->nodes[made].before = place;
    state->nodes[made].after = after;
    *(place == NONE ? &state->first : &state->nodes[place].after) = made;
    *(after == NONE ? &state->last : &state->nodes[after].before) = made;
    return made;
}

int32_t node_append(parser *state, node_kind kind, slice text) {
    return node_insert(state, state->last, kind, text);
}

void run_remove(parser *state, int32_t run) {
    node *removed = &state->nodes[run];
    if (removed->run_before != NONE) {
        state->nodes[removed->run_before].run_after = removed->run_after;
    }
    *(removed->run_after == NONE ? &state->last_run : &state->nodes[removed->run_after].run_before) =
        removed->run_before;
}

slice part(const parser *state, size_t from, size_t to) {
    return (slice){state->text.bytes + from, to - from};
}

int peek(const parser *state, size_t at) {
    return at < state->text.length ? state->text.bytes[at] : -1;
}

static void take_code(parser *state) {
    size_t from = state->at;
    while (peek(state, state->at) == '`') {
        state->at++;
    }
    size_t length = state->at - from;
    bool is_sought = length <= CODE_MARK_MAX && !state->code_mark_is_absent[length];
    for (size_t at = state->at; is_sought && at < state->text.length; at++) {
        size_t run_from = at;
        while (peek(state, at) == '`') {
            at++;
        }
        if (at - run_from != length) {
            continue;
        }
        buffer code = {0};
        buffer_append(&code, part(state, state->at, run_from));
        bool is_blank = true;
        for (size_t each = 0; each < code.length; each++) {
            code.bytes[each] = code.bytes[each] == '\n' ? ' ' : code.bytes[each];
            is_blank &= code.bytes[each] == ' ';
        }
        /* One space on each side is there to part the backticks of the content from those of the span. */
        bool is_padded = !is_blank && code.bytes[0] == ' ' && code.bytes[code.length - 1] == ' ';
        node_append(state, NODE_CODE, (slice){code.bytes + is_padded, code.length - 2 * (size_t)is_padded});
        state->at = at;
        return;
    }
    if (is_sought) {
        state->code_mark_is_absent[length] = true;
    }
    node_append(state, NODE_TEXT, part(state, from, state->at));
}

/* Drops the spaces before a line break; two or more of them, or a backslash, make it a hard one. */
static void take_line_break(parser *state) {
    slice *before = state->last == NONE ? NULL : &state->nodes[state->last].text;
    size_t spaces = 0;
    while (before != NULL && state->nodes[state->last].kind == NODE_TEXT && before->length > 0 &&
           before->bytes[before->length - 1] == ' ') {
        before->length--;
        spaces++;
    }
    state->at++;
    node_append(state, NODE_HTML, slice_of(spaces >= 2 ? "<br />\n" : "\n"));
    while (peek(state, state->at) == ' ') {
        state->at++;
    }
}

static void take_backslash(parser *state) {
    int next = peek(state, state->at + 1);
    if (next == '\n') {
        node_append(state, NODE_HTML, slice_of("<br />\n"));
        state->at += 2;
        while (peek(state, state->at) == ' ') {
            state->at++;
        }
        return;
    }
    size_t from = state->at + (next != -1 && is_ascii_punctuation((uint32_t)next));
    state->at = from + 1;
    node_append(state, NODE_TEXT, part(state, from, state->at));
}

/* An entity goes through as it is written, so that the browser decodes it; anything else is a plain &. */
static void take_ampersand(parser *state) {
    size_t from = state->at++;
    size_t at = state->at + (peek(state, state->at) == '#');
    size_t name_from = at;
    while (at - from < ENTITY_BYTES_MAX && peek(state, at) != -1 && peek(state, at) < 0x80 &&
           iswalnum((wint_t)peek(state, at))) {
        at++;
    }
    bool is_entity = at > name_from && peek(state, at) == ';';
    if (is_entity) {
        state->at = at + 1;
    }
    node_append(state, is_entity ? NODE_HTML : NODE_TEXT, part(state, from, state->at));
}

/* <https://example.org> and <ada@example.org>; any other < is text. */
static void take_angle(parser *state) {
    size_t from = state->at++;
    size_t at = state->at;
    size_t colon = 0;
    size_t sign = 0;
    for (int next = peek(state, at); next > ' ' && next != '<' && next != '>'; next = peek(state, ++at)) {
        colon = next == ':' && colon == 0 ? at : colon;
        sign = next == '@' && sign == 0 ? at : sign;
    }
    slice url = part(state, from + 1, at);
    bool is_mail = colon == 0 && sign > from + 1 && sign + 1 < at && strchr("\\/", peek(state, from + 1)) == NULL;
    bool is_link = peek(state, at) == '>' && (is_mail || (colon > from + 2 && is_safe_url(url)));
    if (!is_link) {
        node_append(state, NODE_TEXT, part(state, from, state->at));
        return;
    }
    buffer html = {0};
    buffer_text(&html, is_mail ? "<a href=\"mailto:" : "<a href=\"");
    write_url(&html, url);
    buffer_text(&html, "\">");
    html_escape(&html, url);
    buffer_text(&html, "</a>");
    node_append(state, NODE_HTML, buffer_slice(&html));
    state->at = at + 1;
}

static void take_text(parser *state) {
    size_t from = state->at;
    do {
        state->at++;
    } while (state->at < state->text.length && memchr("*_`[]!<&\\\n", state->text.bytes[state->at], 10) == NULL);
    node_append(state, NODE_TEXT, part(state, from, state->at));
}

static void take_piece(parser *state) {
    switch (peek(state, state->at)) {
        case '*':
        case '_': take_run(state); return;
        case '`': take_code(state); return;
        case '[': open_bracket(state, 1); return;
        case ']': close_bracket(state); return;
        case '<': take_angle(state); return;
        case '&': take_ampersand(state); return;
        case '\\': take_backslash(state); return;
        case '\n': take_line_break(state); return;
        case '!':
            if (peek(state, state->at + 1) == '[') {
                open_bracket(state, 2);
                return;
            }
            break;
        default: break;
    }
    take_text(state);
}

void inlines_render(buffer *html, slice text) {
    parser state = {.text = text, .first = NONE, .last = NONE, .last_run = NONE};
    while (state.at < text.length) {
        take_piece(&state);
    }
    match_runs(&state, NONE);
    for (int32_t at = state.first; at != NONE; at = state.nodes[at].after) {
        const node *piece = &state.nodes[at];
        if (piece->kind == NODE_HTML) {
            buffer_append(html, piece->text);
            continue;
        }
        buffer_text(html, piece->kind == NODE_CODE ? "<code>" : "");
        html_escape(html, piece->text);
        buffer_text(html, piece->kind == NODE_CODE ? "</code>" : "");
    }
    spell_free(state.nodes);
    spell_free(state.brackets);
}
