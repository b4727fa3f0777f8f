/* Counts what a writer asks about a text. README.md says what counts as a word and a sentence. */
#include <wctype.h>

#include "input.h"
#include "words.h"

enum { TOP_WORDS_DEFAULT = 10, TOP_WORDS_MAX = 100, WORDS_PER_MINUTE_MAX = 2000, WORD_BYTES_SHOWN = 200 };
/* Mean silent reading speed of English prose by adults: Brysbaert 2019, a meta-analysis of 190 studies. */
enum { WORDS_PER_MINUTE_DEFAULT = 238 };

typedef struct {
    uint32_t top_words;
    uint32_t words_per_minute;
} settings;

typedef struct {
    uint64_t characters;
    uint64_t letters_and_digits;
    uint64_t words;
    uint64_t unique_words;
    uint64_t sentences;
    uint64_t paragraphs;
    uint64_t lines;
} statistics;

typedef struct {
    slice text;
    size_t at;
    statistics counts;
    word_table table;
    /* The lower-case text of all unique words. It is made once, as large as it can get, because slices point into it. */
    buffer lower;
    bool sentence_has_word;
    bool paragraph_has_word;
} scanner;

static bool take_option(slice name, json_reader *reader, void *options) {
    settings *chosen = options;
    if (slice_equals(name, slice_of("top_words"))) {
        chosen->top_words = json_take_integer(reader, name, 0, TOP_WORDS_MAX);
        return true;
    }
    if (slice_equals(name, slice_of("words_per_minute"))) {
        chosen->words_per_minute = json_take_integer(reader, name, 1, WORDS_PER_MINUTE_MAX);
        return true;
    }
    return false;
}

/* Scripts written without spaces, where each character is counted as a word, as word processors do. */
static bool is_ideograph(uint32_t code_point) {
    return (code_point >= 0x3400 && code_point <= 0x9FFF) || (code_point >= 0x3041 && code_point <= 0x30FF) ||
           (code_point >= 0xF900 && code_point <= 0xFAFF) || (code_point >= 0x20000 && code_point <= 0x3FFFD);
}

static bool is_combining(uint32_t code_point) {
    return (code_point >= 0x0300 && code_point <= 0x036F) || code_point == 0x200C || code_point == 0x200D;
}

static bool is_word_character(uint32_t code_point) {
    if (code_point < 0x80) {
        return (code_point | 0x20) - 'a' < 26 || code_point - '0' < 10;
    }
    return iswalnum((wint_t)code_point) || is_combining(code_point);
}

/* Apostrophes, hyphens, points and commas are part of a word only between two of its characters: don't, 3.14. */
static bool is_joiner(uint32_t joiner, uint32_t before, uint32_t after) {
    if (joiner == '\'' || joiner == 0x2019 || joiner == '-' || joiner == 0x2010 || joiner == 0x00AD) {
        return is_word_character(after) && !is_ideograph(after);
    }
    return (joiner == '.' || joiner == ',') && before - '0' < 10 && after - '0' < 10;
}

static bool is_sentence_end(uint32_t code_point) {
    return code_point == '.' || code_point == '!' || code_point == '?' || code_point == 0x2026 ||
           code_point == 0x3002 || code_point == 0xFF01 || code_point == 0xFF1F || code_point == 0x061F;
}

/* What may stand between the end mark and the space after a sentence: "Really?" he said. */
static bool is_closing(uint32_t code_point) {
    return code_point == '"' || code_point == '\'' || code_point == ')' || code_point == ']' || code_point == 0x2019 ||
           code_point == 0x201D || code_point == 0x00BB || code_point == 0x300D;
}

static bool is_space(uint32_t code_point) {
    return code_point <= ' ' || code_point == 0xA0 || (code_point >= 0x2000 && code_point <= 0x200A) ||
           code_point == 0x2028 || code_point == 0x2029 || code_point == 0x3000 || code_point == 0x85;
}

/* The code point at `at`, or a space behind the end, with its length. */
static uint32_t code_point_at(const scanner *scan, size_t at, size_t *length) {
    uint32_t code_point = ' ';
    *length = at < scan->text.length ? utf8_decode(scan->text, at, &code_point) : 0;
    return code_point;
}

static void count_word(scanner *scan, size_t lower_from) {
    scan->counts.words++;
    scan->sentence_has_word = true;
    scan->paragraph_has_word = true;
    slice lower = {scan->lower.bytes + lower_from, scan->lower.length - lower_from};
    if (word_table_count(&scan->table, lower)) {
        scan->counts.unique_words++;
    } else {
        scan->lower.length = lower_from;
    }
}

/* Takes a word that begins here and moves behind it. */
static void take_word(scanner *scan) {
    size_t lower_from = scan->lower.length;
    uint32_t before = ' ';
    for (;;) {
        size_t length;
        size_t after_length;
        uint32_t here = code_point_at(scan, scan->at, &length);
        if (length == 0 || (is_ideograph(here) && before != ' ')) {
            break;
        }
        if (is_word_character(here)) {
            scan->counts.letters_and_digits += !is_combining(here);
            /* U+0130 and some others have a longer lower case than themselves; they stay, or the buffer would move. */
            uint32_t lower = (uint32_t)towlower((wint_t)here);
            bool longer = (lower > 0x7F && here <= 0x7F) || (lower > 0x7FF && here <= 0x7FF) || lower > 0xFFFF;
            buffer_code_point(&scan->lower, longer ? here : lower);
        } else if (is_joiner(here, before, code_point_at(scan, scan->at + length, &after_length))) {
            buffer_code_point(&scan->lower, here == 0x2019 ? '\'' : here);
        } else {
            break;
        }
        scan->counts.characters++;
        scan->at += length;
        before = here;
        if (is_ideograph(here)) {
            break;
        }
    }
    count_word(scan, lower_from);
}

/* Ends a sentence when the mark here is followed by space, the end, or closing quotes and then those. */
static void end_sentence(scanner *scan, size_t behind) {
    size_t length;
    uint32_t next = code_point_at(scan, behind, &length);
    while (is_sentence_end(next) || is_closing(next)) {
        behind += length;
        next = code_point_at(scan, behind, &length);
    }
    uint32_t mark = code_point_at(scan, scan->at, &length);
    if (scan->sentence_has_word && (is_space(next) || mark == 0x3002 || mark == 0xFF01 || mark == 0xFF1F)) {
        scan->counts.sentences++;
        scan->sentence_has_word = false;
    }
}

/* A heading or a last line without an end mark is a sentence too, so an empty line ends what is open. */
static void end_paragraph(scanner *scan) {
    scan->counts.sentences += scan->sentence_has_word;
    scan->counts.paragraphs += scan->paragraph_has_word;
    scan->sentence_has_word = false;
    scan->paragraph_has_word = false;
}

/* Scans everything. `line_is_blank` follows whether the present line holds anything but spaces. */
static void scan_text(scanner *scan) {
    bool line_is_blank = true;
    bool line_is_open = false;
    while (scan->at < scan->text.length) {
        size_t length;
        uint32_t here = code_point_at(scan, scan->at, &length);
        bool is_line_end = here == '\n' || here == '\r';
        line_is_open = !is_line_end;
        if (is_word_character(here)) {
            line_is_blank = false;
            take_word(scan);
            continue;
        }
        if (is_sentence_end(here)) {
            end_sentence(scan, scan->at + length);
        }
        scan->counts.characters++;
        scan->at += length;
        if (is_line_end) {
            if (here == '\r' && scan->at < scan->text.length && scan->text.bytes[scan->at] == '\n') {
                scan->counts.characters++;
                scan->at++;
            }
            scan->counts.lines++;
            if (line_is_blank) {
                end_paragraph(scan);
            }
        }
        line_is_blank = is_line_end || (line_is_blank && is_space(here));
    }
    scan->counts.lines += line_is_open;
    end_paragraph(scan);
}

static void write_field(buffer *output, const char *name, uint64_t value) {
    buffer_byte(output, '"');
    buffer_text(output, name);
    buffer_text(output, "\":");
    buffer_number(output, value);
    buffer_byte(output, ',');
}

/* Writes a word, and of one that is no word of a language (a key, a picture in base64) only the beginning. */
static void write_word(buffer *output, slice text) {
    buffer shown = {0};
    bool is_cut = text.length > WORD_BYTES_SHOWN;
    size_t length = is_cut ? WORD_BYTES_SHOWN : text.length;
    while (is_cut && (text.bytes[length] & 0xC0) == 0x80) {
        length--;
    }
    buffer_append(&shown, (slice){text.bytes, length});
    buffer_text(&shown, is_cut ? "\xE2\x80\xA6" : "");
    buffer_json_string(output, buffer_slice(&shown));
}

static void write_top_words(buffer *output, word_table *table, size_t wanted) {
    buffer_text(output, "\"top_words\":[");
    size_t kept = word_table_top(table, wanted);
    for (size_t index = 0; index < kept; index++) {
        buffer_text(output, index > 0 ? ",{\"word\":" : "{\"word\":");
        write_word(output, table->words[index].text);
        buffer_text(output, ",\"count\":");
        buffer_number(output, table->words[index].count);
        buffer_byte(output, '}');
    }
    buffer_byte(output, ']');
}

int main(void) {
    settings chosen = {TOP_WORDS_DEFAULT, WORDS_PER_MINUTE_DEFAULT};
    scanner scan = {.text = spell_read_text("text", take_option, &chosen)};
    scan.lower.capacity = scan.text.length + 1;
    scan.lower.bytes = spell_allocate(scan.lower.capacity);
    scan_text(&scan);

    buffer output = {0};
    buffer_byte(&output, '{');
    write_field(&output, "characters", scan.counts.characters);
    write_field(&output, "letters_and_digits", scan.counts.letters_and_digits);
    write_field(&output, "words", scan.counts.words);
    write_field(&output, "unique_words", scan.counts.unique_words);
    write_field(&output, "sentences", scan.counts.sentences);
    write_field(&output, "paragraphs", scan.counts.paragraphs);
    write_field(&output, "lines", scan.counts.lines);
    uint64_t seconds = (scan.counts.words * 60 + chosen.words_per_minute - 1) / chosen.words_per_minute;
    write_field(&output, "reading_seconds", seconds);
    write_top_words(&output, &scan.table, chosen.top_words);
    buffer_byte(&output, '}');
    spell_write_output(buffer_slice(&output));
    return 0;
}
