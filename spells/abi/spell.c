#include "spell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOG_DETAIL_BYTES_MAX = 200,
    /* Most inputs are short: what is longer is read in larger pieces. */
    READ_BYTES_FIRST = 4 * 1024,
    READ_BYTES_MIN = 64 * 1024,
    ARENA_BYTES = 16 * 1024,
    ARENA_ALIGNMENT = 16,
};

/* Who needs little takes it from here: to grow the memory costs the host more than a short spell takes. */
static _Alignas(ARENA_ALIGNMENT) uint8_t arena[ARENA_BYTES];
static size_t arena_used;
/* Where its newest block begins, which can grow where it is. */
static size_t arena_newest;

slice slice_of(const char *text) {
    return (slice){(const uint8_t *)text, strlen(text)};
}

bool slice_equals(slice left, slice right) {
    return left.length == right.length && (left.length == 0 || memcmp(left.bytes, right.bytes, left.length) == 0);
}

uint32_t slice_hash(slice text) {
    uint32_t hash = 2166136261u;
    for (size_t at = 0; at < text.length; at++) {
        hash = (hash ^ text.bytes[at]) * 16777619u;
    }
    return hash;
}

/* Where in the arena this is; at least ARENA_BYTES when it is elsewhere. */
static size_t arena_offset(const void *memory) {
    return (uintptr_t)memory - (uintptr_t)arena;
}

/* Returns NULL when there is not so much left. */
static void *arena_take(size_t bytes) {
    /* Never nothing: two blocks that begin at one place would both be the newest. */
    size_t taken = bytes > 0 ? bytes : 1;
    if (taken > ARENA_BYTES - arena_used) {
        return NULL;
    }
    arena_newest = arena_used;
    arena_used += (taken + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    return arena + arena_newest;
}

static void *heap_take(void *memory, size_t bytes) {
    void *taken = realloc(memory, bytes);
    if (taken == NULL && bytes > 0) {
        spell_fail("out of memory: the input needs more than the memory limit of this cast; raise limits.memory_bytes");
    }
    return taken;
}

void *spell_allocate(size_t bytes) {
    void *taken = arena_take(bytes);
    return taken != NULL ? taken : heap_take(NULL, bytes);
}

void *spell_reallocate(void *memory, size_t bytes) {
    if (memory == NULL) {
        return spell_allocate(bytes);
    }
    size_t at = arena_offset(memory);
    if (at >= ARENA_BYTES) {
        return heap_take(memory, bytes);
    }
    size_t end = arena_used;
    if (at == arena_newest) {
        arena_used = at;
    }
    void *grown = spell_allocate(bytes);
    if (grown != memory) {
        /* How long it was is not known: all that it can have been. */
        memcpy(grown, memory, bytes < end - at ? bytes : end - at);
    }
    return grown;
}

void spell_free(void *memory) {
    if (arena_offset(memory) >= ARENA_BYTES) {
        free(memory);
    }
}

static void buffer_reserve(buffer *into, size_t more) {
    size_t needed = into->length + more;
    if (needed < more) {
        spell_fail("out of memory: a length passed 4 GiB");
    }
    if (needed <= into->capacity) {
        return;
    }
    /* Half as much again, not double: near the memory limit the old and the new block exist at the same time. */
    size_t capacity = into->capacity + into->capacity / 2 + 64;
    into->capacity = capacity > needed ? capacity : needed;
    into->bytes = spell_reallocate(into->bytes, into->capacity);
}

void buffer_byte(buffer *into, uint8_t byte) {
    buffer_reserve(into, 1);
    into->bytes[into->length++] = byte;
}

void buffer_append(buffer *into, slice bytes) {
    if (bytes.length == 0) {
        return;
    }
    buffer_reserve(into, bytes.length);
    memcpy(into->bytes + into->length, bytes.bytes, bytes.length);
    into->length += bytes.length;
}

void buffer_text(buffer *into, const char *text) {
    buffer_append(into, slice_of(text));
}

void buffer_number(buffer *into, uint64_t number) {
    uint8_t digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(into, (slice){digits + first, sizeof digits - first});
}

void buffer_code_point(buffer *into, uint32_t code_point) {
    if (code_point < 0x80) {
        buffer_byte(into, (uint8_t)code_point);
        return;
    }
    if (code_point < 0x800) {
        buffer_byte(into, (uint8_t)(0xC0 | code_point >> 6));
    } else {
        if (code_point < 0x10000) {
            buffer_byte(into, (uint8_t)(0xE0 | code_point >> 12));
        } else {
            buffer_byte(into, (uint8_t)(0xF0 | code_point >> 18));
            buffer_byte(into, (uint8_t)(0x80 | (code_point >> 12 & 0x3F)));
        }
        buffer_byte(into, (uint8_t)(0x80 | (code_point >> 6 & 0x3F)));
    }
    buffer_byte(into, (uint8_t)(0x80 | (code_point & 0x3F)));
}

static void buffer_json_escape(buffer *into, uint8_t byte) {
    static const char hexadecimal[] = "0123456789abcdef";
    buffer_byte(into, '\\');
    switch (byte) {
        case '\n': buffer_byte(into, 'n'); return;
        case '\r': buffer_byte(into, 'r'); return;
        case '\t': buffer_byte(into, 't'); return;
        case '"':
        case '\\': buffer_byte(into, byte); return;
        default: break;
    }
    buffer_text(into, "u00");
    buffer_byte(into, (uint8_t)hexadecimal[byte >> 4]);
    buffer_byte(into, (uint8_t)hexadecimal[byte & 15]);
}

void buffer_json_string(buffer *into, slice text) {
    buffer_byte(into, '"');
    size_t plain_from = 0;
    for (size_t at = 0; at < text.length; at++) {
        uint8_t byte = text.bytes[at];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            continue;
        }
        buffer_append(into, (slice){text.bytes + plain_from, at - plain_from});
        buffer_json_escape(into, byte);
        plain_from = at + 1;
    }
    buffer_append(into, (slice){text.bytes + plain_from, text.length - plain_from});
    buffer_byte(into, '"');
}

slice buffer_slice(const buffer *from) {
    return (slice){from->bytes, from->length};
}

slice spell_read_input(void) {
    buffer input = {0};
    for (;;) {
        if (input.length == input.capacity) {
            buffer_reserve(&input, input.length == 0 ? READ_BYTES_FIRST : READ_BYTES_MIN);
        }
        ssize_t count = read(STDIN_FILENO, input.bytes + input.length, input.capacity - input.length);
        if (count == 0) {
            return buffer_slice(&input);
        }
        if (count > 0) {
            input.length += (size_t)count;
        } else if (errno != EINTR) {
            spell_fail("the input could not be read");
        }
    }
}

/* Returns false when the host refuses the bytes, for example beyond the output limit. */
static bool write_all(int descriptor, slice bytes) {
    for (size_t done = 0; done < bytes.length;) {
        ssize_t count = write(descriptor, bytes.bytes + done, bytes.length - done);
        if (count > 0) {
            done += (size_t)count;
        } else if (count == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

void spell_write_output(slice output) {
    if (!write_all(STDOUT_FILENO, output)) {
        spell_fail("the output could not be written");
    }
}

/* Does not allocate: it also reports that there is no memory. */
static _Noreturn void fail_with(slice message, const char *between, slice detail) {
    write_all(STDERR_FILENO, message);
    write_all(STDERR_FILENO, slice_of(between));
    write_all(STDERR_FILENO, detail);
    write_all(STDERR_FILENO, slice_of("\n"));
    _Exit(EXIT_FAILURE);
}

void spell_fail(const char *message) {
    fail_with(slice_of(message), "", slice_of(""));
}

void spell_fail_number(const char *message, uint64_t number) {
    uint8_t digits[20];
    buffer text = {digits, 0, sizeof digits};
    buffer_number(&text, number);
    fail_with(slice_of(message), " ", buffer_slice(&text));
}

void spell_fail_detail(const char *message, slice detail) {
    if (detail.length > LOG_DETAIL_BYTES_MAX) {
        detail.length = LOG_DETAIL_BYTES_MAX;
    }
    fail_with(slice_of(message), ": ", detail);
}

size_t utf8_decode(slice text, size_t at, uint32_t *code_point) {
    const uint8_t *bytes = text.bytes + at;
    size_t left = text.length - at;
    uint8_t first = bytes[0];
    if (first < 0x80) {
        *code_point = first;
        return 1;
    }
    size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || length > left) {
        return 0;
    }
    uint32_t value = first & (0xFFu >> (length + 1));
    for (size_t next = 1; next < length; next++) {
        if ((bytes[next] & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (bytes[next] & 0x3F);
    }
    /* Overlong forms, surrogates and what lies above U+10FFFF are not UTF-8. */
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        return 0;
    }
    *code_point = value;
    return length;
}

slice utf8_required(slice text) {
    for (size_t at = 0; at < text.length;) {
        uint32_t code_point;
        size_t length = utf8_decode(text, at, &code_point);
        if (length == 0) {
            spell_fail_number("the input is not UTF-8: bad byte at offset", at);
        }
        at += length;
    }
    if (text.length >= 3 && memcmp(text.bytes, "\xEF\xBB\xBF", 3) == 0) {
        return (slice){text.bytes + 3, text.length - 3};
    }
    return text;
}
