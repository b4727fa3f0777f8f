/* The two halves of the renderer: blocks split a document into lines and containers, inlines fill a paragraph. */
#ifndef MARKDOWN_H
#define MARKDOWN_H

#include "spell.h"

/* Appends the HTML of a whole document of valid UTF-8. */
void blocks_render(buffer *html, slice document);

/* Appends the HTML of the text of one paragraph, heading or item. */
void inlines_render(buffer *html, slice text);

/* Appends text with &, <, > and " escaped: fit for content and for quoted attributes. NUL becomes U+FFFD. */
void html_escape(buffer *html, slice text);

bool is_ascii_punctuation(uint32_t code_point);

#endif
