#include "lines.h"

/* Quotes and lists inside each other beyond this depth are shown as text; it bounds recursion and repeated copying. */
enum { NESTING_MAX = 16 };

/* Stand for the tags of a paragraph directly inside a list item until it is known whether the list is loose. Neither
 * byte occurs in UTF-8. */
enum { ITEM_PARAGRAPH_OPEN = 0xFE, ITEM_PARAGRAPH_CLOSE = 0xFF };

typedef struct {
    slice *lines;
    size_t length;
    size_t capacity;
} line_list;

static void line_append(line_list *into, slice line) {
    if (into->length == into->capacity) {
        into->capacity = into->capacity * 2 + 16;
        into->lines = spell_reallocate(into->lines, into->capacity * sizeof *into->lines);
    }
    into->lines[into->length++] = line;
}

/* Follows the lines of a container to know whether its last line may be continued without the container's mark. */
typedef struct {
    fence open_fence;
    bool in_fence;
    bool in_paragraph;
} laziness;

static void laziness_follow(laziness *state, slice line) {
    if (state->in_fence) {
        state->in_fence = !closes_fence(line, &state->open_fence);
        return;
    }
    /* The innermost line counts: a quote or an item may itself end in a paragraph. */
    list_marker marker;
    for (int depth = 0; depth < NESTING_MAX; depth++) {
        if (opens_quote(line)) {
            line = unindented(slice_from(line, indent_of(line) + 1), 1);
        } else if (opens_item(line, &marker)) {
            line = slice_from(line, marker.content_at);
        } else {
            break;
        }
    }
    state->in_fence = opens_fence(line, &state->open_fence);
    bool is_code = !state->in_paragraph && indent_of(line) >= CODE_INDENT;
    state->in_paragraph = !state->in_fence && !is_code && !interrupts_paragraph(line);
}

static bool blocks_of(buffer *html, const line_list *lines, int depth, bool in_item);

static void start_line(buffer *html) {
    if (html->length > 0 && html->bytes[html->length - 1] != '\n') {
        buffer_byte(html, '\n');
    }
}

static size_t render_indented_code(buffer *html, const line_list *lines, size_t at) {
    size_t end = at;
    for (size_t next = at; next < lines->length; next++) {
        if (is_blank(lines->lines[next])) {
            continue;
        }
        if (indent_of(lines->lines[next]) < CODE_INDENT) {
            break;
        }
        end = next + 1;
    }
    start_line(html);
    buffer_text(html, "<pre><code>");
    for (; at < end; at++) {
        html_escape(html, unindented(lines->lines[at], CODE_INDENT));
        buffer_byte(html, '\n');
    }
    buffer_text(html, "</code></pre>\n");
    return end;
}

static size_t render_fenced_code(buffer *html, const line_list *lines, size_t at, const fence *opened) {
    slice info = trimmed(slice_from(lines->lines[at], opened->indent + opened->length));
    size_t word = 0;
    while (word < info.length && info.bytes[word] != ' ' && info.bytes[word] != '\t') {
        word++;
    }
    start_line(html);
    buffer_text(html, "<pre><code");
    if (word > 0) {
        buffer_text(html, " class=\"language-");
        html_escape(html, (slice){info.bytes, word});
        buffer_byte(html, '"');
    }
    buffer_byte(html, '>');
    for (at++; at < lines->length && !closes_fence(lines->lines[at], opened); at++) {
        html_escape(html, unindented(lines->lines[at], opened->indent));
        buffer_byte(html, '\n');
    }
    buffer_text(html, "</code></pre>\n");
    return at < lines->length ? at + 1 : at;
}

static void write_heading(buffer *html, size_t level, slice text) {
    start_line(html);
    buffer_text(html, "<h");
    buffer_number(html, level);
    buffer_byte(html, '>');
    inlines_render(html, text);
    buffer_text(html, "</h");
    buffer_number(html, level);
    buffer_text(html, ">\n");
}

static slice heading_text(slice line, size_t level) {
    slice text = trimmed(slice_from(line, indent_of(line) + level));
    size_t end = text.length;
    while (end > 0 && text.bytes[end - 1] == '#') {
        end--;
    }
    /* Closing signs count only behind a space: "# C#" keeps its sign. */
    if (end == 0 || text.bytes[end - 1] == ' ' || text.bytes[end - 1] == '\t') {
        text.length = end;
    }
    return trimmed(text);
}

static size_t render_quote(buffer *html, const line_list *lines, size_t at, int depth) {
    line_list inner = {0};
    laziness state = {0};
    for (; at < lines->length; at++) {
        slice line = lines->lines[at];
        if (opens_quote(line)) {
            line = unindented(slice_from(line, indent_of(line) + 1), 1);
        } else if (!state.in_paragraph || !continues_lazily(line)) {
            break;
        } else if (underline_level(line) > 0) {
            /* Outside the quote it is no underline; indented so, it is plain text of the paragraph inside. */
            buffer indented = {0};
            buffer_text(&indented, "    ");
            buffer_append(&indented, line);
            line = buffer_slice(&indented);
        }
        laziness_follow(&state, line);
        line_append(&inner, line);
    }
    start_line(html);
    buffer_text(html, "<blockquote>\n");
    blocks_of(html, &inner, depth + 1, false);
    start_line(html);
    buffer_text(html, "</blockquote>\n");
    spell_free(inner.lines);
    return at;
}

/* Gathers the lines of one item, without their indentation and without blank lines at its end. */
static size_t take_item(line_list *inner, const line_list *lines, size_t at, const list_marker *marker) {
    laziness state = {0};
    slice line = slice_from(lines->lines[at], marker->content_at);
    laziness_follow(&state, line);
    line_append(inner, line);
    size_t end = at + 1;
    for (size_t next = end; next < lines->length; next++) {
        line = lines->lines[next];
        bool is_inside = indent_of(line) >= marker->content_at;
        if (is_blank(line)) {
            if (marker->is_empty && next == at + 1) {
                break;
            }
            state.in_paragraph = false;
            continue;
        }
        if (!is_inside && (!state.in_paragraph || !continues_lazily(line) || next > end)) {
            break;
        }
        for (; end < next; end++) {
            line_append(inner, slice_from(lines->lines[end], marker->content_at));
        }
        line = is_inside ? slice_from(line, marker->content_at) : line;
        laziness_follow(&state, line);
        line_append(inner, line);
        end = next + 1;
    }
    return end;
}

/* Puts the tags of item paragraphs in place of their stand-ins, or nothing in a tight list. */
static void settle_paragraphs(buffer *html, size_t from, bool is_loose) {
    buffer settled = {0};
    for (size_t at = from; at < html->length; at++) {
        uint8_t byte = html->bytes[at];
        if (byte == ITEM_PARAGRAPH_OPEN) {
            if (is_loose) {
                start_line(&settled);
                buffer_text(&settled, "<p>");
            }
        } else if (byte == ITEM_PARAGRAPH_CLOSE) {
            if (is_loose) {
                bool ends_line = at + 1 < html->length && html->bytes[at + 1] == '\n';
                buffer_text(&settled, ends_line ? "</p>" : "</p>\n");
            }
        } else {
            buffer_byte(&settled, byte);
        }
    }
    html->length = from;
    buffer_append(html, buffer_slice(&settled));
    spell_free(settled.bytes);
}

static void open_list(buffer *html, const list_marker *first) {
    start_line(html);
    if (!first->is_ordered) {
        buffer_text(html, "<ul>\n");
        return;
    }
    buffer_text(html, "<ol");
    if (first->number != 1) {
        buffer_text(html, " start=\"");
        buffer_number(html, first->number);
        buffer_byte(html, '"');
    }
    buffer_text(html, ">\n");
}

static size_t render_list(buffer *html, const line_list *lines, size_t at, const list_marker *first, int depth) {
    open_list(html, first);
    size_t items_from = html->length;
    bool is_loose = false;
    list_marker marker = *first;
    for (;;) {
        line_list inner = {0};
        at = take_item(&inner, lines, at, &marker);
        buffer_text(html, "<li>");
        is_loose |= blocks_of(html, &inner, depth + 1, true);
        buffer_text(html, "</li>\n");
        spell_free(inner.lines);
        size_t next = at;
        while (next < lines->length && is_blank(lines->lines[next])) {
            next++;
        }
        if (next == lines->length || !opens_item(lines->lines[next], &marker) || marker.mark != first->mark ||
            marker.is_ordered != first->is_ordered) {
            break;
        }
        is_loose |= next > at;
        at = next;
    }
    settle_paragraphs(html, items_from, is_loose);
    buffer_text(html, first->is_ordered ? "</ol>\n" : "</ul>\n");
    return at;
}

static size_t render_paragraph(buffer *html, const line_list *lines, size_t at, bool in_item) {
    buffer text = {0};
    int underline = 0;
    /* Spaces at the end of a line say that it breaks there, so only the last line loses its own. */
    size_t last_from = 0;
    for (size_t first = at; at < lines->length && underline == 0; at++) {
        slice line = lines->lines[at];
        if (at > first) {
            underline = underline_level(line);
            if (underline > 0) {
                continue;
            }
            if (interrupts_paragraph(line)) {
                break;
            }
            buffer_byte(&text, '\n');
        }
        last_from = text.length;
        buffer_append(&text, slice_from(line, indent_of(line)));
    }
    slice last = trimmed((slice){text.bytes + last_from, text.length - last_from});
    slice content = {text.bytes, last_from + last.length};
    if (underline > 0) {
        write_heading(html, (size_t)underline, content);
    } else if (in_item) {
        if (html->length > 0 && html->bytes[html->length - 1] == ITEM_PARAGRAPH_CLOSE) {
            buffer_byte(html, '\n');
        }
        buffer_byte(html, ITEM_PARAGRAPH_OPEN);
        inlines_render(html, content);
        buffer_byte(html, ITEM_PARAGRAPH_CLOSE);
    } else {
        start_line(html);
        buffer_text(html, "<p>");
        inlines_render(html, content);
        buffer_text(html, "</p>\n");
    }
    spell_free(text.bytes);
    return at;
}

static size_t render_block(buffer *html, const line_list *lines, size_t at, int depth, bool in_item) {
    slice line = lines->lines[at];
    fence opened;
    list_marker marker;
    if (indent_of(line) >= CODE_INDENT) {
        return render_indented_code(html, lines, at);
    }
    if (opens_fence(line, &opened)) {
        return render_fenced_code(html, lines, at, &opened);
    }
    size_t level = heading_level(line);
    if (level > 0) {
        write_heading(html, level, heading_text(line, level));
        return at + 1;
    }
    if (is_thematic_break(line)) {
        start_line(html);
        buffer_text(html, "<hr />\n");
        return at + 1;
    }
    if (depth < NESTING_MAX && opens_quote(line)) {
        return render_quote(html, lines, at, depth);
    }
    if (depth < NESTING_MAX && opens_item(line, &marker)) {
        return render_list(html, lines, at, &marker, depth);
    }
    return render_paragraph(html, lines, at, in_item);
}

/* Renders all blocks of a container; returns whether a blank line stands between two of them. */
static bool blocks_of(buffer *html, const line_list *lines, int depth, bool in_item) {
    bool is_loose = false;
    bool has_block = false;
    bool has_blank = false;
    for (size_t at = 0; at < lines->length;) {
        if (is_blank(lines->lines[at])) {
            has_blank = true;
            at++;
            continue;
        }
        is_loose |= has_block && has_blank;
        at = render_block(html, lines, at, depth, in_item);
        has_block = true;
        /* A block may have taken blank lines at its end only inside itself, so what comes now is between blocks. */
        has_blank = false;
    }
    return is_loose;
}

/* Tabs at the beginning of a line stand for spaces up to the next multiple of four columns. */
static slice without_leading_tabs(slice line) {
    size_t at = 0;
    bool has_tab = false;
    while (at < line.length && (line.bytes[at] == ' ' || line.bytes[at] == '\t')) {
        has_tab |= line.bytes[at++] == '\t';
    }
    if (!has_tab) {
        return line;
    }
    buffer spaced = {0};
    for (size_t from = 0; from < at; from++) {
        do {
            buffer_byte(&spaced, ' ');
        } while (line.bytes[from] == '\t' && spaced.length % CODE_INDENT != 0);
    }
    buffer_append(&spaced, slice_from(line, at));
    return buffer_slice(&spaced);
}

void blocks_render(buffer *html, slice document) {
    line_list lines = {0};
    for (size_t at = 0; at < document.length;) {
        size_t from = at;
        while (at < document.length && document.bytes[at] != '\n' && document.bytes[at] != '\r') {
            at++;
        }
        line_append(&lines, without_leading_tabs((slice){document.bytes + from, at - from}));
        bool is_pair = at + 1 < document.length && document.bytes[at] == '\r' && document.bytes[at + 1] == '\n';
        at += is_pair ? 2 : 1;
    }
    blocks_of(html, &lines, 0, false);
}
