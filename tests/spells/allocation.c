/* Takes, grows and gives back blocks at random, and looks whether each still holds what was written to it. */
#include "spell.h"

#include <string.h>

enum { BLOCKS = 64, STEPS = 100000, SMALL_BYTES = 200, LARGE_BYTES = 6000, EMPTY_ONE_IN = 20 };

typedef struct {
    uint8_t *bytes;
    size_t length;
    uint8_t filled_with;
} block;

static block blocks[BLOCKS];
static uint32_t state = 7;

static uint32_t below(uint32_t bound) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % bound;
}

static void check(const block *one, size_t length) {
    for (size_t at = 0; at < length; at++) {
        if (one->bytes[at] != one->filled_with) {
            spell_fail_number("a block lost what was at", at);
        }
    }
}

static void give_back(block *one) {
    check(one, one->length);
    spell_free(one->bytes);
    *one = (block){0};
}

static void change(block *one) {
    size_t length = below(EMPTY_ONE_IN) == 0 ? 0 : below(below(3) == 0 ? LARGE_BYTES : SMALL_BYTES);
    one->bytes = spell_reallocate(one->bytes, length);
    check(one, one->length < length ? one->length : length);
    one->length = length;
    one->filled_with = (uint8_t)below(256);
    memset(one->bytes, one->filled_with, length);
}

int main(void) {
    for (int step = 0; step < STEPS; step++) {
        block *one = &blocks[below(BLOCKS)];
        if (one->bytes != NULL && below(4) == 0) {
            give_back(one);
        } else {
            change(one);
        }
    }
    for (int at = 0; at < BLOCKS; at++) {
        give_back(&blocks[at]);
    }
    spell_write_output(slice_of("\"whole\""));
    return 0;
}
