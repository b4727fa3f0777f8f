/* Markdown in, safe HTML out. README.md says which Markdown. */
#include "input.h"
#include "markdown.h"

static bool take_option(slice name, json_reader *reader, void *options) {
    (void)name;
    (void)reader;
    (void)options;
    return false;
}

void html_escape(buffer *html, slice text) {
    for (size_t at = 0; at < text.length; at++) {
        switch (text.bytes[at]) {
            case '&': buffer_text(html, "&amp;"); break;
            case '<': buffer_text(html, "&lt;"); break;
            case '>': buffer_text(html, "&gt;"); break;
            case '"': buffer_text(html, "&quot;"); break;
            case 0: buffer_text(html, "\xEF\xBF\xBD"); break;
            default: buffer_byte(html, text.bytes[at]); break;
        }
    }
}

bool is_ascii_punctuation(uint32_t code_point) {
    return (code_point >= '!' && code_point <= '/') || (code_point >= ':' && code_point <= '@') ||
           (code_point >= '[' && code_point <= '`') || (code_point >= '{' && code_point <= '~');
}

int main(void) {
    slice document = spell_read_text("markdown", take_option, NULL);
    buffer html = {0};
    blocks_render(&html, document);
    spell_write_output(buffer_slice(&html));
    return 0;
}
