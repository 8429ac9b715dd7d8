/* Ending as the workload ended. */
#ifndef VMM_EXIT_H
#define VMM_EXIT_H

#define EXIT_VMM_FAILED 255

/* Early: who is to die is known then, and later not to be asked (vmm/filters/rules.h). */
void exit_prepare(void);

/* status as waitpid gives it: the same exit code, or death by the same signal without a core. */
_Noreturn void exit_as(int status);

#endif
