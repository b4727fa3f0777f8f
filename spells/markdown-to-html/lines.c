#include "lines.h"

#include <string.h>

slice slice_from(slice text, size_t from) {
    from = from < text.length ? from : text.length;
    return (slice){text.bytes + from, text.length - from};
}

size_t indent_of(slice line) {
    size_t at = 0;
    while (at < line.length && line.bytes[at] == ' ') {
        at++;
    }
    return at;
}

bool is_blank(slice line) {
    for (size_t at = 0; at < line.length; at++) {
        if (line.bytes[at] != ' ' && line.bytes[at] != '\t') {
            return false;
        }
    }
    return true;
}

slice unindented(slice line, size_t most) {
    size_t indent = indent_of(line);
    return slice_from(line, indent < most ? indent : most);
}

slice trimmed(slice line) {
    line = slice_from(line, indent_of(line));
    while (line.length > 0 && (line.bytes[line.length - 1] == ' ' || line.bytes[line.length - 1] == '\t')) {
        line.length--;
    }
    return line;
}

size_t run_of(slice line, size_t at, uint8_t byte) {
    size_t from = at;
    while (at < line.length && line.bytes[at] == byte) {
        at++;
    }
    return at - from;
}

bool is_thematic_break(slice line) {
    slice text = trimmed(line);
    if (indent_of(line) >= CODE_INDENT || text.length == 0 || strchr("*-_", text.bytes[0]) == NULL || !text.bytes[0]) {
        return false;
    }
    size_t marks = 0;
    for (size_t at = 0; at < text.length; at++) {
        if (text.bytes[at] == text.bytes[0]) {
            marks++;
        } else if (text.bytes[at] != ' ' && text.bytes[at] != '\t') {
            return false;
        }
    }
    return marks >= 3;
}

size_t heading_level(slice line) {
    size_t indent = indent_of(line);
    size_t level = run_of(line, indent, '#');
    size_t behind = indent + level;
    bool is_heading = indent < CODE_INDENT && level >= 1 && level <= HEADING_LEVEL_MAX &&
                      (behind == line.length || line.bytes[behind] == ' ' || line.bytes[behind] == '\t');
    return is_heading ? level : 0;
}

bool opens_fence(slice line, fence *opened) {
    size_t indent = indent_of(line);
    if (indent >= CODE_INDENT || indent == line.length || (line.bytes[indent] != '`' && line.bytes[indent] != '~')) {
        return false;
    }
    *opened = (fence){line.bytes[indent], run_of(line, indent, line.bytes[indent]), indent};
    slice info = slice_from(line, indent + opened->length);
    bool is_code_span = opened->mark == '`' && info.length > 0 && memchr(info.bytes, '`', info.length) != NULL;
    return opened->length >= FENCE_LENGTH_MIN && !is_code_span;
}

bool closes_fence(slice line, const fence *opened) {
    size_t indent = indent_of(line);
    size_t length = run_of(line, indent, opened->mark);
    return indent < CODE_INDENT && length >= opened->length && is_blank(slice_from(line, indent + length));
}

bool opens_quote(slice line) {
    size_t indent = indent_of(line);
    return indent < CODE_INDENT && indent < line.length && line.bytes[indent] == '>';
}

int underline_level(slice line) {
    slice text = trimmed(line);
    if (indent_of(line) >= CODE_INDENT || text.length == 0 || run_of(text, 0, text.bytes[0]) != text.length) {
        return 0;
    }
    return text.bytes[0] == '=' ? 1 : text.bytes[0] == '-' ? 2 : 0;
}

bool opens_item(slice line, list_marker *marker) {
    size_t indent = indent_of(line);
    size_t at = indent;
    *marker = (list_marker){0};
    while (at < line.length && at - indent < ORDERED_DIGITS_MAX && line.bytes[at] >= '0' && line.bytes[at] <= '9') {
        marker->number = marker->number * 10 + line.bytes[at++] - '0';
    }
    marker->is_ordered = at > indent;
    if (indent >= CODE_INDENT || at == line.length || is_thematic_break(line)) {
        return false;
    }
    marker->mark = line.bytes[at++];
    const char *marks = marker->is_ordered ? ".)" : "-+*";
    if (marker->mark == 0 || strchr(marks, marker->mark) == NULL) {
        return false;
    }
    slice rest = slice_from(line, at);
    marker->is_empty = is_blank(rest);
    size_t spaces = indent_of(rest);
    if (!marker->is_empty && spaces == 0) {
        return false;
    }
    /* Five spaces or more: one belongs to the marker, the rest makes the content indented code. */
    marker->content_at = at + (marker->is_empty || spaces > CODE_INDENT ? 1 : spaces);
    return true;
}

bool interrupts_paragraph(slice line) {
    fence opened;
    list_marker marker;
    if (is_blank(line) || is_thematic_break(line) || heading_level(line) > 0 || opens_quote(line) ||
        opens_fence(line, &opened)) {
        return true;
    }
    return opens_item(line, &marker) && !marker.is_empty && (!marker.is_ordered || marker.number == 1);
}

bool continues_lazily(slice line) {
    list_marker marker;
    return !interrupts_paragraph(line) && !opens_item(line, &marker);
}
