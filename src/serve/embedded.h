/* embedded.h - files of this folder that stand in the program as they are; the Makefile makes an
 * object of each.
 *
 * Memory:   static, [..._end - ...] bytes, not zero-terminated.
 * Threads:  pure.
 */
#ifndef SELLA_SERVE_EMBEDDED_H
#define SELLA_SERVE_EMBEDDED_H

extern const char sella_embedded_page_html[], sella_embedded_page_html_end[];
extern const char sella_embedded_openapi_json[], sella_embedded_openapi_json_end[];

#endif
