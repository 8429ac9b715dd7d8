#ifndef COMMON_COUNT_H
#define COMMON_COUNT_H

/* How many elements an array has; not for a pointer to one. */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
