#include "markdown.h"

#include <stdlib.h>
#include <string.h>
#include <wctype.h>

/* Runs of backticks longer than this are text, so that looking for their ends cannot take quadratic time. */
enum { CODE_MARK_MAX = 80 };
enum { ENTITY_BYTES_MAX = 32, NONE = -1 };

typedef enum {
    NODE_TEXT, /* to be escaped */
    NODE_CODE, /* to be escaped inside <code> */
    NODE_HTML, /* made here, goes out as it is */
} node_kind;

/* A piece of the paragraph. All links are indexes, because the array moves when it grows. */
typedef struct {
    slice text;
    int32_t before;
    int32_t after;
    /* Runs of * and _ that may still open or close emphasis are a list of their own. */
    int32_t run_before;
    int32_t run_after;
    uint32_t run_length;
    uint8_t mark;
    uint8_t kind;
    bool opens;
    bool closes;
} node;

typedef struct {
    int32_t node;
    int32_t run_bottom;
    bool is_image;
    bool is_active;
} bracket;

typedef struct {
    slice text;
    size_t at;
    node *nodes;
    int32_t node_count;
    int32_t node_capacity;
    int32_t first;
    int32_t last;
    int32_t last_run;
    bracket *brackets;
    size_t bracket_count;
    size_t bracket_capacity;
    bool code_mark_is_absent[CODE_MARK_MAX + 1]; /* no run of this length lies further on */
} parser;

static int32_t node_new(parser *state, node_kind kind, slice text) {
    if (state->node_count == state->node_capacity) {
        state->node_capacity += state->node_capacity / 2 + 32;
        state->nodes = spell_reallocate(state->nodes, (size_t)state->node_capacity * sizeof *state->nodes);
    }
    state->nodes[state->node_count] = (node){.text = text, .kind = kind, .run_before = NONE, .run_after = NONE};
    return state->node_count++;
}

/* Puts a new node behind `place`, or first when that is NONE. */
static int32_t node_insert(parser *state, int32_t place, node_kind kind, slice text) {
    int32_t made = node_new(state, kind, text);
    int32_t after = place == NONE ? state->first : state->nodes[place].after;
    state->nodes[made].before = place;
    state->nodes[made].after = after;
    *(place == NONE ? &state->first : &state->nodes[place].after) = made;
    *(after == NONE ? &state->last : &state->nodes[after].before) = made;
    return made;
}

static int32_t node_append(parser *state, node_kind kind, slice text) {
    return node_insert(state, state->last, kind, text);
}

static void run_remove(parser *state, int32_t run) {
    node *removed = &state->nodes[run];
    if (removed->run_before != NONE) {
        state->nodes[removed->run_before].run_after = removed->run_after;
    }
    *(removed->run_after == NONE ? &state->last_run : &state->nodes[removed->run_after].run_before) =
        removed->run_before;
}

static slice part(const parser *state, size_t from, size_t to) {
    return (slice){state->text.bytes + from, to - from};
}

static int peek(const parser *state, size_t at) {
    return at < state->text.length ? state->text.bytes[at] : -1;
}

/* Emphasis */

static bool is_space(uint32_t code_point) {
    return code_point <= ' ' || code_point == 0xA0 || iswspace((wint_t)code_point);
}

static bool is_punctuation(uint32_t code_point) {
    return code_point < 0x80 ? is_ascii_punctuation(code_point) : iswpunct((wint_t)code_point) != 0;
}

static uint32_t code_point_before(const parser *state, size_t at) {
    uint32_t code_point = ' ';
    if (at > 0) {
        do {
            at--;
        } while (at > 0 && (state->text.bytes[at] & 0xC0) == 0x80);
        utf8_decode(state->text, at, &code_point);
    }
    return code_point;
}

/* Takes a run of * or _ and decides by its neighbours what it may do, as CommonMark defines flanking. */
static void take_run(parser *state) {
    size_t from = state->at;
    uint8_t mark = state->text.bytes[from];
    while (peek(state, state->at) == mark) {
        state->at++;
    }
    uint32_t before = code_point_before(state, from);
    uint32_t after = ' ';
    if (state->at < state->text.length) {
        utf8_decode(state->text, state->at, &after);
    }
    bool leads = !is_space(after) && (!is_punctuation(after) || is_space(before) || is_punctuation(before));
    bool trails = !is_space(before) && (!is_punctuation(before) || is_space(after) || is_punctuation(after));
    int32_t made = node_append(state, NODE_TEXT, part(state, from, state->at));
    node *run = &state->nodes[made];
    run->mark = mark;
    run->run_length = (uint32_t)(state->at - from);
    run->opens = mark == '*' ? leads : leads && (!trails || is_punctuation(before));
    run->closes = mark == '*' ? trails : trails && (!leads || is_punctuation(after));
    run->run_before = state->last_run;
    if (state->last_run != NONE) {
        state->nodes[state->last_run].run_after = made;
    }
    state->last_run = made;
}

static bool runs_match(const node *opener, const node *closer) {
    if (opener->mark != closer->mark || !opener->opens) {
        return false;
    }
    bool is_either = opener->closes || closer->opens;
    bool is_odd = (opener->run_length + closer->run_length) % 3 == 0 &&
                  (opener->run_length % 3 != 0 || closer->run_length % 3 != 0);
    return !(is_either && is_odd);
}

/* Wraps what lies between two runs, using up one or two marks of each. */
static void emphasise(parser *state, int32_t opener, int32_t closer) {
    bool is_strong = state->nodes[opener].text.length >= 2 && state->nodes[closer].text.length >= 2;
    size_t used = is_strong ? 2 : 1;
    state->nodes[opener].text.length -= used;
    state->nodes[closer].text.length -= used;
    node_insert(state, opener, NODE_HTML, slice_of(is_strong ? "<strong>" : "<em>"));
    node_insert(state, state->nodes[closer].before, NODE_HTML, slice_of(is_strong ? "</strong>" : "</em>"));
}

/* Where a search for an opener may stop, for each kind of closer that has failed before. */
static int32_t *search_bottom(int32_t bottoms[2][2][3], const node *closer) {
    return &bottoms[closer->mark == '_'][closer->opens][closer->run_length % 3];
}

/* Matches all runs behind `bottom` and forgets them. Runs are in order of their index, which `bottom` relies on. */
static void match_runs(parser *state, int32_t bottom) {
    int32_t bottoms[2][2][3];
    for (size_t at = 0; at < sizeof bottoms / sizeof(int32_t); at++) {
        ((int32_t *)bottoms)[at] = bottom;
    }
    int32_t closer = state->last_run;
    while (closer != NONE && state->nodes[closer].run_before != bottom && state->nodes[closer].run_before != NONE) {
        closer = state->nodes[closer].run_before;
    }
    closer = closer == bottom ? NONE : closer;
    while (closer != NONE) {
        if (!state->nodes[closer].closes) {
            closer = state->nodes[closer].run_after;
            continue;
        }
        int32_t *failed = search_bottom(bottoms, &state->nodes[closer]);
        int32_t opener = state->nodes[closer].run_before;
        while (opener > *failed && !runs_match(&state->nodes[opener], &state->nodes[closer])) {
            opener = state->nodes[opener].run_before;
        }
        if (opener <= *failed) {
            int32_t next = state->nodes[closer].run_after;
            *failed = state->nodes[closer].run_before;
            if (!state->nodes[closer].opens) {
                run_remove(state, closer);
            }
            closer = next;
            continue;
        }
        while (state->nodes[closer].run_before != opener) {
            run_remove(state, state->nodes[closer].run_before);
        }
        emphasise(state, opener, closer);
        if (state->nodes[opener].text.length == 0) {
            run_remove(state, opener);
        }
        if (state->nodes[closer].text.length == 0) {
            int32_t next = state->nodes[closer].run_after;
            run_remove(state, closer);
            closer = next;
        }
    }
    while (state->last_run != bottom && state->last_run != NONE) {
        run_remove(state, state->last_run);
    }
}

/* Links */

/* Only these may be followed from the result; everything else with a scheme (javascript:, data:) stays text. */
static bool is_safe_url(slice url) {
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
static void write_url(buffer *html, slice url) {
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

static void open_bracket(parser *state, size_t length) {
    int32_t made = node_append(state, NODE_TEXT, part(state, state->at, state->at + length));
    state->at += length;
    if (state->bracket_count == state->bracket_capacity) {
        state->bracket_capacity = state->bracket_capacity * 2 + 16;
        state->brackets = spell_reallocate(state->brackets, state->bracket_capacity * sizeof *state->brackets);
    }
    state->brackets[state->bracket_count++] = (bracket){made, state->last_run, length == 2, true};
}

static void close_bracket(parser *state) {
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

/* Code, breaks, entities */

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
    free(state.nodes);
    free(state.brackets);
}
