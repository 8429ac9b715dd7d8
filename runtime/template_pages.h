/*
 * Which of a template's pages its clones write: a bitmap in the template's folder, made of what the
 * first clone had written when its workload was started. The next get copies of these at once, not
 * by a fault for each. A hint: nothing depends on it.
 */
#ifndef RUNTIME_TEMPLATE_PAGES_H
#define RUNTIME_TEMPLATE_PAGES_H

#include <sys/types.h>

/* pid is the clone's VMM. What cannot be seen is left for the next. */
void template_record_pages(const char *name, pid_t pid);

#endif
