/* Ending as the workload ended. */
#ifndef VMM_EXIT_H
#define VMM_EXIT_H

#define EXIT_VMM_FAILED 255

/* status as waitpid gives it: the same exit code, or death by the same signal without a core. */
_Noreturn void exit_as(int status);

#endif
