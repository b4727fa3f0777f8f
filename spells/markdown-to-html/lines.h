/* What one line of Markdown may be, whatever stands around it. */
#ifndef LINES_H
#define LINES_H

#include "markdown.h"

enum { CODE_INDENT = 4, FENCE_LENGTH_MIN = 3, HEADING_LEVEL_MAX = 6, ORDERED_DIGITS_MAX = 9 };

typedef struct {
    uint8_t mark;
    size_t length;
    size_t indent;
} fence;

typedef struct {
    uint8_t mark; /* the bullet, or the delimiter behind the number */
    bool is_ordered;
    uint32_t number;
    size_t content_at; /* column where the item's content begins */
    bool is_empty;
} list_marker;

slice slice_from(slice text, size_t from);
size_t indent_of(slice line);
bool is_blank(slice line);
/* Without at most `most` leading spaces. */
slice unindented(slice line, size_t most);
slice trimmed(slice line);
size_t run_of(slice line, size_t at, uint8_t byte);
bool is_thematic_break(slice line);
/* Returns 1 to 6, or 0 when the line is no heading with number signs. */
size_t heading_level(slice line);
bool opens_fence(slice line, fence *opened);
bool closes_fence(slice line, const fence *opened);
bool opens_quote(slice line);
/* Returns 1 for a line of =, 2 for a line of -, which make a heading of the paragraph above, else 0. */
int underline_level(slice line);
bool opens_item(slice line, list_marker *marker);
/* True when the line cannot go on with the paragraph above it. */
bool interrupts_paragraph(slice line);
/* True when a line without its container's mark goes on with the paragraph inside: here any item begins a new block. */
bool continues_lazily(slice line);

#endif
