/* The guest side of ABI v1 for C: stdin is the input, stdout the output, stderr the log, exit code 0 means success.
 *
 * Nothing here touches files, the environment or stdio, so a spell stays a few KiB.
 */
#ifndef SPELL_H
#define SPELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. */
typedef struct {
    const uint8_t *bytes;
    size_t length;
} slice;

/* Bytes that grow. Starts as {0}. Growing without memory ends the spell with a message, never with a trap. */
typedef struct {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
} buffer;

slice slice_of(const char *text);
bool slice_equals(slice left, slice right);
/* FNV-1a. Repeatable, so that the same input costs the same fuel everywhere; no defence against chosen collisions. */
uint32_t slice_hash(slice text);

void buffer_byte(buffer *into, uint8_t byte);
void buffer_append(buffer *into, slice bytes);
void buffer_text(buffer *into, const char *text);
void buffer_number(buffer *into, uint64_t number);
void buffer_code_point(buffer *into, uint32_t code_point);
/* Appends `text` (valid UTF-8) as a JSON string with its quotes. */
void buffer_json_string(buffer *into, slice text);
slice buffer_slice(const buffer *from);

/* Memory that lives as long as the spell, or until it is given to `spell_free`. Never returns NULL. */
void *spell_allocate(size_t bytes);
void *spell_reallocate(void *memory, size_t bytes);
void spell_free(void *memory);

/* All of stdin, owned by the caller for the life of the spell. */
slice spell_read_input(void);
void spell_write_output(slice output);

/* Writes one line to the log and exits with code 1. */
_Noreturn void spell_fail(const char *message);
/* The same with "<message> <number>". */
_Noreturn void spell_fail_number(const char *message, uint64_t number);
/* The same with "<message>: <detail>"; the detail is cut after 200 bytes. */
_Noreturn void spell_fail_detail(const char *message, slice detail);

/* Decodes the code point at `at`. Returns its length in bytes, 0 when it is not valid UTF-8. `at` < `text.length`. */
size_t utf8_decode(slice text, size_t at, uint32_t *code_point);
/* Ends the spell with the offset of the first bad byte unless `text` is UTF-8; returns it without byte order mark. */
slice utf8_required(slice text);

#endif
