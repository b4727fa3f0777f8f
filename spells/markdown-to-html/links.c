#include <string.h>

#include "inlines.h"

/* Open parentheses in one address. Without a bound, "[a](" again and again takes quadratic time. */
enum { PARENTHESES_MAX = 32 };

bool is_safe_url(slice url) {
    static const char *const schemes[] = {"http", "https", "mailto", "tel"};
    size_t length = 0;
    while (length < url.length && strchr(":/?#", url.bytes[length]) == NULL) {
        length++;
    }
    if (length == url.length || url.bytes[length] != ':') {
        return true;
    }
    for (size_t index = 0; index < sizeof schemes / sizeof *schemes; index++) {
        size_t at = 0;
        while (at < length && schemes[index][at] != 0 && (url.bytes[at] | 0x20) == schemes[index][at]) {
            at++;
        }
        if (at == length && schemes[index][at] == 0) {
            return true;
        }
    }
    return false;
}

/* Appends a URL for a quoted attribute: what may not stand in one is percent-encoded, which also keeps browsers from
 * dropping tabs and line breaks out of a scheme. */
void write_url(buffer *html, slice url) {
    static const char hexadecimal[] = "0123456789ABCDEF";
    for (size_t at = 0; at < url.length; at++) {
        uint8_t byte = url.bytes[at];
        if (byte == '&') {
            buffer_text(html, "&amp;");
        } else if (byte > ' ' && byte < 0x7F && strchr("\"<>\\^`{|}[]", byte) == NULL) {
            buffer_byte(html, byte);
        } else {
            buffer_byte(html, '%');
            buffer_byte(html, (uint8_t)hexadecimal[byte >> 4]);
            buffer_byte(html, (uint8_t)hexadecimal[byte & 15]);
        }
    }
}

static slice without_escapes(slice text) {
    buffer plain = {0};
    for (size_t at = 0; at < text.length; at++) {
        bool is_escape = text.bytes[at] == '\\' && at + 1 < text.length && is_ascii_punctuation(text.bytes[at + 1]);
        at += is_escape;
        buffer_byte(&plain, text.bytes[at]);
    }
    return buffer_slice(&plain);
}

static size_t skip_link_space(const parser *state, size_t at) {
    while (peek(state, at) == ' ' || peek(state, at) == '\t' || peek(state, at) == '\n') {
        at++;
    }
    return at;
}

/* Takes a destination at `*at`: <in angle brackets>, or without spaces and with balanced parentheses. */
static bool take_destination(const parser *state, size_t *at, slice *destination) {
    bool is_angled = peek(state, *at) == '<';
    size_t from = *at + is_angled;
    size_t to = from;
    int depth = 0;
    for (int next = peek(state, to); next != -1 && next != '\n'; next = peek(state, ++to)) {
        if (next == '\\' && peek(state, to + 1) != -1 && is_ascii_punctuation((uint32_t)peek(state, to + 1))) {
            to++;
        } else if (is_angled ? next == '>' : next <= ' ' || (next == ')' && depth == 0)) {
            break;
        } else if (is_angled && next == '<') {
            return false;
        } else {
            depth += (next == '(') - (next == ')');
            if (depth > PARENTHESES_MAX) {
                return false;
            }
        }
    }
    if (is_angled ? peek(state, to) != '>' : depth != 0) {
        return false;
    }
    *destination = part(state, from, to);
    *at = to + is_angled;
    return true;
}

static bool take_title(const parser *state, size_t *at, slice *title) {
    int opening = peek(state, *at);
    int closing = opening == '(' ? ')' : opening;
    if (opening != '"' && opening != '\'' && opening != '(') {
        return false;
    }
    size_t from = *at + 1;
    size_t to = from;
    while (peek(state, to) != -1 && peek(state, to) != closing) {
        if (opening == '(' && peek(state, to) == '(') {
            return false;
        }
        to += peek(state, to) == '\\' ? 2 : 1;
    }
    if (peek(state, to) != closing) {
        return false;
    }
    *title = part(state, from, to);
    *at = to + 1;
    return true;
}

/* Takes "(destination "title")" behind a closing bracket; nothing is taken when it is something else. */
static bool take_target(parser *state, slice *destination, slice *title) {
    if (peek(state, state->at) != '(') {
        return false;
    }
    size_t at = skip_link_space(state, state->at + 1);
    if (!take_destination(state, &at, destination)) {
        return false;
    }
    size_t spaced = skip_link_space(state, at);
    *title = (slice){0};
    if (spaced > at && take_title(state, &spaced, title)) {
        spaced = skip_link_space(state, spaced);
    }
    if (peek(state, spaced) != ')') {
        return false;
    }
    state->at = spaced + 1;
    return true;
}

static void write_title(buffer *html, slice title) {
    if (title.bytes != NULL) {
        buffer_text(html, " title=\"");
        html_escape(html, without_escapes(title));
        buffer_byte(html, '"');
    }
}

static void finish_image(parser *state, int32_t opener, slice url, slice title) {
    buffer alternative = {0};
    for (int32_t at = state->nodes[opener].after; at != NONE; at = state->nodes[at].after) {
        slice text = state->nodes[at].text;
        if (state->nodes[at].kind != NODE_HTML) {
            html_escape(&alternative, text);
        } else if (text.length > 0 && text.bytes[0] != '<') {
            buffer_append(&alternative, text); /* an entity or a line break */
        }
    }
    buffer html = {0};
    if (is_safe_url(url)) {
        buffer_text(&html, "<img src=\"");
        write_url(&html, url);
        buffer_text(&html, "\" alt=\"");
        buffer_append(&html, buffer_slice(&alternative));
        buffer_byte(&html, '"');
        write_title(&html, title);
        buffer_text(&html, " />");
    } else {
        buffer_append(&html, buffer_slice(&alternative));
    }
    state->nodes[opener].kind = NODE_HTML;
    state->nodes[opener].text = buffer_slice(&html);
    state->nodes[opener].after = NONE;
    state->last = opener;
}

static void finish_link(parser *state, int32_t opener, slice url, slice title) {
    buffer html = {0};
    if (is_safe_url(url)) {
        buffer_text(&html, "<a href=\"");
        write_url(&html, url);
        buffer_byte(&html, '"');
        write_title(&html, title);
        buffer_byte(&html, '>');
        node_append(state, NODE_HTML, slice_of("</a>"));
    }
    state->nodes[opener].kind = NODE_HTML;
    state->nodes[opener].text = buffer_slice(&html);
    /* No links inside links: what opened before may still become an image only. */
    for (size_t at = state->bracket_count; at > 0; at--) {
        bracket *earlier = &state->brackets[at - 1];
        if (!earlier->is_image && !earlier->is_active) {
            break;
        }
        earlier->is_active = earlier->is_image;
    }
}

void open_bracket(parser *state, size_t length) {
    int32_t made = node_append(state, NODE_TEXT, part(state, state->at, state->at + length));
    state->at += length;
    if (state->bracket_count == state->bracket_capacity) {
        state->bracket_capacity = state->bracket_capacity * 2 + 16;
        state->brackets = spell_reallocate(state->brackets, state->bracket_capacity * sizeof *state->brackets);
    }
    state->brackets[state->bracket_count++] = (bracket){made, state->last_run, length == 2, true};
}

void close_bracket(parser *state) {
    size_t from = state->at++;
    slice destination;
    slice title;
    if (state->bracket_count > 0) {
        bracket opened = state->brackets[--state->bracket_count];
        if (opened.is_active && take_target(state, &destination, &title)) {
            slice url = without_escapes(destination);
            match_runs(state, opened.run_bottom);
            (opened.is_image ? finish_image : finish_link)(state, opened.node, url, title);
            return;
        }
    }
    node_append(state, NODE_TEXT, part(state, from, state->at));
}
