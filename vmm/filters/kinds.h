/* The kinds of threads that a running VMM has. Of IO are those of disks and NICs, shared or not. */
#ifndef VMM_FILTERS_KINDS_H
#define VMM_FILTERS_KINDS_H

enum filter_kind { FILTER_MAIN, FILTER_VCPU, FILTER_IO, FILTER_FS, FILTER_KINDS };

/* Stands for the process's own id where a rule compares with that; put in when it is known. */
#define FILTER_SELF 0x5e1f5e1fu

/* Instructions of the longest program. */
#define FILTER_PROGRAM_MAX 512

#endif
