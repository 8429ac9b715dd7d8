/*
 * Which of a template's pages its clones write: a bitmap in the template's folder, made of what the
 * first clone had written when its workload was started. The next get copies of these at once, not
 * by a fault for each. A hint: nothing depends on it.
 */
#ifndef RUNTIME_TEMPLATE_PAGES_H
#define RUNTIME_TEMPLATE_PAGES_H

#include <stdint.h>
#include <sys/types.h>

/* pid is the clone's VMM. What cannot be seen is left for the next. */
void template_record_pages(const char *name, pid_t pid);

/*
 * A bit for each page of a VMM's guest, of size bytes, that is no longer its template's: malloc'ed.
 * The guest rests. Returns 1, 0 when it came from no template, or a negative errno.
 */
int template_find_pages(pid_t pid, uint64_t size, uint8_t **bits);

#endif
