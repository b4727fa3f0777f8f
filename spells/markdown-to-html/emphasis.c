#include <wctype.h>

#include "inlines.h"

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

void take_run(parser *state) {
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

void match_runs(parser *state, int32_t bottom) {
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
