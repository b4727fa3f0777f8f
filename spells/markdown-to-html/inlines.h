/* What the parts of the inline parser share. Pieces of a paragraph become nodes of a list; emphasis and links then put
 * tags between them. */
#ifndef INLINES_H
#define INLINES_H

#include "markdown.h"

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

/* Puts a new node behind `place`, or first when that is NONE. */
int32_t node_insert(parser *state, int32_t place, node_kind kind, slice text);
int32_t node_append(parser *state, node_kind kind, slice text);
void run_remove(parser *state, int32_t run);
slice part(const parser *state, size_t from, size_t to);
/* The byte at `at`, -1 behind the end. */
int peek(const parser *state, size_t at);

/* emphasis.c: takes a run of * or _ and decides by its neighbours what it may do, as CommonMark defines flanking. */
void take_run(parser *state);
/* Matches all runs behind `bottom` and forgets them. Runs are in order of their index, which `bottom` relies on. */
void match_runs(parser *state, int32_t bottom);

/* links.c */
void open_bracket(parser *state, size_t length);
void close_bracket(parser *state);
/* Only http, https, mailto, tel and addresses without a scheme may be followed from the result. */
bool is_safe_url(slice url);
void write_url(buffer *html, slice url);

#endif
