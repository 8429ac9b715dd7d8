/* What this host does against side channels between VMs: facts for its owner, no requirements. */
#ifndef RUNTIME_HOST_FACTS_H
#define RUNTIME_HOST_FACTS_H

/* Calls say for each fact: good when nothing is to be done about it; text is one line. */
void host_facts(void (*say)(const char *name, int good, const char *text));

#endif
