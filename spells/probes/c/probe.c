/* Shows what a guest sees of time and chance: the clocks around a sleep, and random bytes.
 *
 * Stdin may hold the length of the sleep in milliseconds; 50 otherwise.
 */
#include <time.h>
#include <unistd.h>

#include "spell.h"

enum { SLEEP_MS_DEFAULT = 50, SLEEP_MS_MAX = 3600 * 1000, RANDOM_BYTES = 16 };

static uint64_t now_ns(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        spell_fail("the clock could not be read");
    }
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t sleep_ms_of(slice input) {
    uint32_t sleep_ms = 0;
    for (size_t at = 0; at < input.length; at++) {
        uint32_t digit = (uint32_t)input.bytes[at] - '0';
        sleep_ms = digit < 10 ? sleep_ms * 10 + digit : UINT32_MAX;
        if (sleep_ms > SLEEP_MS_MAX) {
            spell_fail_number("the input must be a whole number of milliseconds, at most", SLEEP_MS_MAX);
        }
    }
    return input.length > 0 ? sleep_ms : SLEEP_MS_DEFAULT;
}

static void write_number(buffer *output, const char *name, uint64_t value) {
    buffer_text(output, name);
    buffer_number(output, value);
}

int main(void) {
    uint32_t sleep_ms = sleep_ms_of(spell_read_input());
    uint64_t realtime_before = now_ns(CLOCK_REALTIME);
    uint64_t monotonic_before = now_ns(CLOCK_MONOTONIC);
    struct timespec sleep = {.tv_sec = (time_t)(sleep_ms / 1000), .tv_nsec = (long)(sleep_ms % 1000) * 1000000};
    if (nanosleep(&sleep, NULL) != 0) {
        spell_fail("the sleep was refused");
    }
    uint64_t monotonic_elapsed = now_ns(CLOCK_MONOTONIC) - monotonic_before;
    uint64_t realtime_after = now_ns(CLOCK_REALTIME);
    uint8_t random[RANDOM_BYTES];
    if (getentropy(random, sizeof random) != 0) {
        spell_fail("there are no random bytes");
    }
    buffer output = {0};
    write_number(&output, "{\"realtime_before_ns\":", realtime_before);
    write_number(&output, ",\"realtime_after_ns\":", realtime_after);
    write_number(&output, ",\"monotonic_elapsed_ns\":", monotonic_elapsed);
    buffer_text(&output, ",\"random_hex\":\"");
    for (size_t at = 0; at < sizeof random; at++) {
        buffer_byte(&output, (uint8_t)"0123456789abcdef"[random[at] >> 4]);
        buffer_byte(&output, (uint8_t)"0123456789abcdef"[random[at] & 15]);
    }
    buffer_text(&output, "\"}");
    spell_write_output(buffer_slice(&output));
    return 0;
}
